package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
	"github.com/stack4things/s4t/internal/cloudlab"
)

// stormLength is how long each storm goes on; S4T_STORM says otherwise.
const stormLength = 5 * time.Minute

// storms are what one actor may do with all its might: each by a process in a
// host of its own, until it is killed.
var storms = []struct {
	name, what string
	do         func(stormConfig)
}{
	{"stranger", "a stranger: unfinished bodies, logins with random names and the admin's, wrong codes, requests without a token, idle connections to a public port", strangerStorm},
	{"reader", "a reader: `doctor` of a board that never answers, lists, streams of events, long polls", readerStorm},
	{"member", "a member: boards with long labels, bridges of boards that never joined, services, tokens, all at once", memberStorm},
	{"board", "a board: sessions with its own key, tickets, reports, calls that are none", boardStorm},
}

// stormConfig is what an actor knows.
type stormConfig struct {
	URL, CA    string
	Token      string
	Board      string // its name
	Join       string // of the board
	State      string // directory for the board's state
	PublicPort int
}

// TestFaultStorm: while one actor does what it can for five minutes, the
// memory of iotronic stays near what it is in calm, a neighbour's requests are
// answered, his bridge loses nothing and his public port answers.
func TestFaultStorm(t *testing.T) {
	if os.Getenv("S4T_RELIABILITY") == "" {
		t.Skip("it takes twenty minutes: make test-faults")
	}
	length := stormLength
	if d, err := time.ParseDuration(os.Getenv("S4T_STORM")); err == nil {
		length = d
	}
	w := newWorld(t)
	to := addressOf(t, w.bridge, "board2", false)
	admin := clientOf(t, w.Cloud, "")
	neighbour := clientOf(t, w.Cloud, tokenFor(t, admin, "neighbour", "default", s4t.RoleMember))
	for _, storm := range storms {
		t.Run(storm.name, func(t *testing.T) {
			site, err := w.Lab.AddBoard()
			must(t, err)
			project := "storm-" + storm.name
			_, err = admin.CreateProject(t.Context(), apiclient.ProjectCreate{Name: project})
			must(t, err)
			role := s4t.RoleMember
			if storm.name == "reader" {
				role = s4t.RoleReader
			}
			c := stormConfig{URL: cloudlab.URL, CA: caOf(t, w.Cloud), Board: "stormy", State: filepath.Join(w.Lab.Dir, project), PublicPort: w.service.PublicPort}
			c.Token = tokenFor(t, admin, project, project, role)
			member := clientOf(t, w.Cloud, tokenFor(t, admin, project+"-owner", project, s4t.RoleMember))
			board, err := member.CreateBoard(t.Context(), apiclient.BoardCreate{Name: c.Board})
			must(t, err)
			c.Join = board.Join

			// Calm is honest work, logins and all, of a cloud that has seen no storm.
			must(t, w.Process.Stop())
			must(t, w.Cloud.Run())
			within(t, 2*healLimit, "the cloud is back", func() error { return w.works(t) })
			calm := honest(t, w, neighbour, to, min(length, 20*time.Second))
			pid := w.Process.Pid()
			before := resident(t, pid, "VmHWM")
			logged := logBytes(t, w.Process.Log)
			must(t, os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0)) // VmHWM begins anew: proc(5)
			text, err := json.Marshal(c)
			must(t, err)
			p, err := site.NAT.Start("storm-"+storm.name, []string{"S4T_E2E_STORM=" + storm.name, "S4T_E2E_STORM_CONFIG=" + string(text)},
				"nice", "-n", "19", os.Args[0], "-test.run", "^TestHelperStorm$")
			must(t, err)
			rough := honest(t, w, neighbour, to, length)
			select {
			case <-p.Done():
				t.Errorf("the storm has ended:\n%s", p.Tail(5))
			default:
			}
			p.Kill()
			peak := resident(t, pid, "VmHWM")
			perMinute := float64(logBytes(t, w.Process.Log)-logged) / length.Minutes() / 1024
			figure(fmt.Sprintf("%s, for %v", storm.what, length), fmt.Sprintf("iotronic at most %d MiB (calm: %d), %.0f KiB of log a minute; a neighbour's requests p50 %s p99 %s (calm: %s, %s), %d of %d failed; his bridge's p99 %s (calm: %s), %d of %d pings lost",
				peak, before, perMinute, rough.requests.at(50), rough.requests.at(99), calm.requests.at(50), calm.requests.at(99), rough.failed, rough.requests.sent,
				rough.pings.at(99), calm.pings.at(99), rough.pings.lost, rough.pings.sent))
			t.Logf("memory %d MiB (calm %d), log %.0f KiB/min, requests p50 %s p99 %s (calm %s, %s) failed %d of %d (%v), pings p99 %s (calm %s) lost %d of %d", peak, before, perMinute, rough.requests.at(50), rough.requests.at(99),
				calm.requests.at(50), calm.requests.at(99), rough.failed, rough.requests.sent, rough.first, rough.pings.at(99), calm.pings.at(99), rough.pings.lost, rough.pings.sent)
			if peak > before*3/2 {
				t.Errorf("%d MiB, more than 1.5 times the %d in calm", peak, before)
			}
			if rough.failed > 0 || rough.pings.lost > 0 {
				t.Errorf("%d requests of a neighbour failed (the first: %v), %d pings lost", rough.failed, rough.first, rough.pings.lost)
			}
			within(t, 2*healLimit, "everything works after it", func() error { return w.works(t) })
		})
	}
}

// honestResult is what a neighbour saw.
type honestResult struct {
	requests rtts
	failed   int
	first    error // of the requests that failed
	pings    rtts
}

// honest does what a neighbour does for so long: requests that read, write and
// log in, pings over his bridge, his public port.
func honest(t *testing.T, w *world, c *apiclient.Client, to string, length time.Duration) (r honestResult) {
	t.Helper()
	note := func(do func() error) {
		start := time.Now()
		if err := do(); err != nil {
			r.failed++
			if r.first == nil {
				r.first = err
			}
		}
		r.requests.sent++
		r.requests.all = append(r.requests.all, time.Since(start))
	}
	r.pings = latencies(t, w.Boards[0].Host, to, func() {
		end := time.Now().Add(length)
		for i := 0; time.Now().Before(end); i++ {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			note(func() error {
				b, err := c.Board(ctx, "board1")
				if err == nil && b.Status != s4t.BoardOnline {
					err = fmt.Errorf("board1 is %s", b.Status)
				}
				return err
			})
			note(func() error { _, err := c.Networks(ctx); return err })
			note(func() error {
				if _, err := c.CreateBoard(ctx, apiclient.BoardCreate{Name: "passing"}); err != nil {
					return err
				}
				return c.DeleteBoard(ctx, "passing")
			})
			if i%20 == 0 {
				note(func() error {
					_, err := c.Login(ctx, apiclient.Login{User: "neighbour", Password: stormPassword})
					return err
				})
				note(func() error { return w.works(t) })
			}
			cancel()
			time.Sleep(50 * time.Millisecond) // a neighbour, no storm
		}
	})
	slices.Sort(r.requests.all)
	return r
}

const stormPassword = "correct horse battery"

// tokenFor makes a user of a project with a role, and a token of its own.
func tokenFor(t *testing.T, admin *apiclient.Client, user, project string, role s4t.Role) string {
	t.Helper()
	_, err := admin.CreateUser(t.Context(), apiclient.UserCreate{Name: user, Project: project, Role: role, Password: stormPassword})
	must(t, err)
	token, err := admin.Login(t.Context(), apiclient.Login{User: user, Password: stormPassword})
	must(t, err)
	return token.Secret
}

// clientOf speaks to the cloud from the host of the user, with a token or, if
// that is empty, the admin's.
func clientOf(t *testing.T, c *cloudlab.Cloud, token string) *apiclient.Client {
	t.Helper()
	cfg, err := readContext(c.ContextFile())
	must(t, err)
	if token != "" {
		cfg.Token = token
	}
	cfg.URL, cfg.Dial = cloudlab.URL, c.Lab.User.DialContext
	client, err := apiclient.New(cfg)
	must(t, err)
	t.Cleanup(client.Close)
	return client
}

func caOf(t *testing.T, c *cloudlab.Cloud) string {
	t.Helper()
	cfg, err := readContext(c.ContextFile())
	must(t, err)
	return cfg.CA
}

func logBytes(t *testing.T, file string) int64 {
	t.Helper()
	info, err := os.Stat(file)
	must(t, err)
	return info.Size()
}

// TestHelperStorm runs one storm.
func TestHelperStorm(t *testing.T) {
	name := os.Getenv("S4T_E2E_STORM")
	if name == "" {
		t.Skip("a helper process of other tests")
	}
	var c stormConfig
	must(t, json.NewDecoder(strings.NewReader(os.Getenv("S4T_E2E_STORM_CONFIG"))).Decode(&c))
	for _, s := range storms {
		if s.name == name {
			s.do(c)
		}
	}
}
