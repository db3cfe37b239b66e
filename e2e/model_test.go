package e2e

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/internal/cloudlab"
)

// reality is what requests, kills and cuts so far should have led to.
type reality struct {
	*cloudlab.Cloud
	bridges map[string]map[string]bool // name: boards
	exposed map[string]bool            // boards whose sshd is exposed
	cut     map[string]bool            // boards
	devices map[string]int             // board: what it should have
}

// check compares what can be seen with what should be.
func (r *reality) check(t *testing.T) error {
	var boards []s4t.Board
	if err := r.JSON(t.Context(), &boards, "board", "list"); err != nil {
		return err
	}
	for _, b := range boards {
		if online := b.Status == s4t.BoardOnline; online == r.cut[b.Name] {
			return fmt.Errorf("%s is %s, cut %v", b.Name, b.Status, r.cut[b.Name])
		}
	}
	var bridges []s4t.Bridge
	if err := r.JSON(t.Context(), &bridges, "bridge", "list"); err != nil {
		return err
	}
	if len(bridges) != len(r.bridges) {
		return fmt.Errorf("%d bridges, want %d", len(bridges), len(r.bridges))
	}
	macs := map[string]bool{}
	for _, br := range bridges {
		if len(br.Ports) != len(r.bridges[br.Name]) {
			return fmt.Errorf("bridge %s has %d ports, want %v", br.Name, len(br.Ports), r.bridges[br.Name])
		}
		for _, p := range br.Ports {
			if !r.bridges[br.Name][p.Board] || macs[p.MAC] || (p.Status == s4t.PortUp) == r.cut[p.Board] {
				return fmt.Errorf("bridge %s has the port %+v; cut %v", br.Name, p, r.cut[p.Board])
			}
			macs[p.MAC] = true
		}
	}
	for _, b := range r.Boards {
		if !r.cut[b.Name] { // else it has what it had
			r.devices[b.Name] = 0
			for _, on := range r.bridges {
				if on[b.Name] {
					r.devices[b.Name]++
				}
			}
		}
		out, err := b.Host.Run(t.Context(), "ip", "-br", "link")
		if err != nil {
			return err
		}
		if n := strings.Count(out, "s4t-"); n != r.devices[b.Name] {
			return fmt.Errorf("%s has %d devices, want %d:\n%s", b.Name, n, r.devices[b.Name], out)
		}
	}
	var services []s4t.Service
	if err := r.JSON(t.Context(), &services, "service", "list"); err != nil {
		return err
	}
	if len(services) != len(r.exposed) {
		return fmt.Errorf("%d services, want %d", len(services), len(r.exposed))
	}
	for _, s := range services {
		if !r.exposed[s.Board] || (s.Status == s4t.ServiceUp) == r.cut[s.Board] {
			return fmt.Errorf("the service %+v; cut %v", s, r.cut[s.Board])
		}
	}
	out, err := r.Lab.Cloud.Run(t.Context(), "ss", "-Hltn")
	if err != nil {
		return err
	}
	if n := strings.Count(strings.TrimSpace(out), "\n") + 1; n != 1+len(services) {
		return fmt.Errorf("%d listeners for %d services:\n%s", n, len(services), out)
	}
	return nil
}

// step does something at random, and says what.
func (r *reality) step(t *testing.T, rnd *rand.Rand) string {
	board := r.Boards[rnd.IntN(len(r.Boards))]
	name := []string{"red", "blue"}[rnd.IntN(2)]
	on := r.bridges[name]
	switch rnd.IntN(8) {
	case 0, 1:
		if on == nil {
			r.bridges[name] = map[string]bool{board.Name: true}
			runS4T(t, r.Cloud, "bridge", "create", name, "--board", board.Name)
			return "create " + name + " with " + board.Name
		}
		if !on[board.Name] {
			on[board.Name] = true
			runS4T(t, r.Cloud, "bridge", "add", name, "--board", board.Name)
			return "add " + board.Name + " to " + name
		}
		if len(on) > 1 {
			delete(on, board.Name)
			runS4T(t, r.Cloud, "bridge", "remove", name, "--board", board.Name)
			return "remove " + board.Name + " from " + name
		}
		delete(r.bridges, name)
		runS4T(t, r.Cloud, "bridge", "delete", name)
		return "delete " + name
	case 2, 3:
		if r.exposed[board.Name] {
			delete(r.exposed, board.Name)
			runS4T(t, r.Cloud, "service", "hide", board.Name, "ssh")
			return "hide " + board.Name
		}
		r.exposed[board.Name] = true
		runS4T(t, r.Cloud, "service", "expose", board.Name, "ssh")
		return "expose " + board.Name
	case 4:
		r.Process.Kill()
		must(t, r.Cloud.Run())
		return "kill iotronic"
	case 5:
		board.Process.Kill()
		must(t, board.Run())
		return "kill " + board.Name
	case 6:
		if !r.cut[board.Name] && len(r.cut) == 0 {
			r.cut[board.Name] = true
			must(t, board.Cut())
			return "cut " + board.Name
		}
		fallthrough
	default:
		for b := range r.cut {
			delete(r.cut, b)
			i := slices.IndexFunc(r.Boards, func(o *cloudlab.Board) bool { return o.Name == b })
			must(t, r.Boards[i].Heal())
			return "heal " + b
		}
		must(t, board.Process.Stop())
		must(t, board.Run())
		return "restart " + board.Name
	}
}

// TestFaultAnySequence drives real processes at random: requests, kill -9 of
// either side, cuts. After each step presence, ports, devices, listeners and
// reservations become what they should be. S4T_SEED repeats a run.
func TestFaultAnySequence(t *testing.T) {
	t.Parallel()
	seed, steps := uint64(time.Now().UnixNano()), 12
	if s := os.Getenv("S4T_SEED"); s != "" {
		var err error
		seed, err = strconv.ParseUint(s, 10, 64)
		must(t, err)
	}
	if os.Getenv("S4T_RELIABILITY") != "" {
		steps = 40
	}
	r := &reality{Cloud: newCloud(t, 3), bridges: map[string]map[string]bool{}, exposed: map[string]bool{}, cut: map[string]bool{}, devices: map[string]int{}}
	for _, b := range r.Boards {
		if _, err := b.Host.StartSSHD(); err != nil {
			t.Skip(err)
		}
	}
	t.Logf("S4T_SEED=%d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	for i := range steps {
		what := r.step(t, rnd)
		limit := healLimit
		if strings.HasPrefix(what, "cut") {
			limit = 12 * time.Second // until a dead peer is noticed, and what that means is known
		}
		took := within(t, limit, fmt.Sprintf("step %d, %s (cut: %v)", i, what, slices.Collect(maps.Keys(r.cut))), func() error { return r.check(t) })
		t.Logf("%s: %v", what, took.Round(10*time.Millisecond))
	}
}
