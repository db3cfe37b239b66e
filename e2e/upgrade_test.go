package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stack4things/s4t"
)

// TestUpgrade is `make test-upgrade`: a cloud of the programs of an earlier commit becomes
// one of today's, process by process, in the order that docs/operators.md gives, under the
// load of the drill: no request fails, no ping of a bridge is lost and no session of
// `s4t ssh` ends. Boards of both versions are there at the end.
func TestUpgrade(t *testing.T) {
	old := os.Getenv("S4T_UPGRADE_FROM")
	if old == "" {
		t.Skip("it needs the programs of an earlier commit: make test-upgrade")
	}
	d := newDrill(t, old)
	d.stage()
	d.load()
	d.settled("the old programs", drillGivesUp)
	before := d.agents()
	d.boardRenewed(1, "a board of today's lightning-rod at the cloud of old programs")
	d.strict.Store(true)
	d.watch("the upgrade")
	sent, lost := d.lost()

	d.Bin = bin
	for _, name := range []string{"c1", "c2"} {
		d.renewed(name, func() {
			if name == "c2" { // an old one on the new schema: it may have to be started again
				d.ends(name)
				d.Bin = old
				d.start(d.placed(name))
				d.ready(name)
				d.Bin = bin
			}
		})
	}
	for _, name := range []string{"w1", "w2", "t1", "t2"} {
		agent := map[byte]string{'w': "wamp-agent-", 't': "tunnel-agent-"}[name[0]] + name
		d.renewed(name, func() { fmt.Print(d.s4t("agent", "drain", agent, "--wait", "--timeout", "5m")) })
		d.s4t("agent", "undrain", agent)
	}
	sent2, lost2 := d.lost()
	if lost2 > lost {
		d.isWrong("%d of %d pings of the bridge were lost", lost2-lost, sent2-sent)
	}
	d.settled("the cloud of new programs", drillHeals)
	silence, typing := d.ledger.seen()
	asked, refused := d.counted()
	fmt.Printf("%d pings, %d lost, longest silence %v; a line of the session was back after %v at most; %d requests, of which were refused %v\n",
		sent2-sent, lost2-lost, silence.Round(time.Millisecond), typing.Round(time.Millisecond), asked, refused)

	d.strict.Store(false) // a board that is started anew is away for a moment
	d.boardRenewed(2, "another board of today's lightning-rod, beside an old one, at the new cloud")
	for id, a := range d.agents() {
		if a.Version == before[id].Version {
			d.isWrong("%s still has version %s", id, a.Version)
		}
	}
	d.ledger.finish()
	fmt.Println(d.ledger.summary())
	for _, w := range d.wrong {
		t.Error(w)
	}
}

// boardRenewed starts today's lightning-rod at a board.
func (d *drill) boardRenewed(n int, what string) {
	d.t.Helper()
	programs := d.Bin
	d.Bin = bin
	b := d.Boards[n]
	must(d.t, b.Process.Stop())
	must(d.t, b.Run())
	d.Bin = programs
	d.settled(what, drillHeals)
}

// renewed ends a process in order, after what is to be done before, and starts today's.
func (d *drill) renewed(name string, first func()) {
	d.t.Helper()
	began := time.Now()
	first()
	d.ends(name)
	stopped := time.Now()
	d.start(d.placed(name))
	d.ready(name)
	d.took(began, 0, "%s is of today's programs (away for %v)", name, time.Since(stopped).Round(time.Millisecond))
}

// ready waits for the process that was started last under a name.
func (d *drill) ready(name string) {
	d.t.Helper()
	_, err := d.processes[name].WaitLine("ready ", 0, brokerPatience)
	must(d.t, err)
}

// agents are those of the cloud.
func (d *drill) agents() map[s4t.AgentID]s4t.Agent {
	var list []s4t.Agent
	s4tJSON(d.t, d.Cloud, &list, "agent", "list")
	all := map[s4t.AgentID]s4t.Agent{}
	for _, a := range list {
		all[a.ID] = a
	}
	return all
}

// lost is how many pings of the bridge were sent, up to the last that was answered, and
// how many of them were not.
func (d *drill) lost() (sent, lost int) {
	text, err := os.ReadFile(filepath.Join(d.ledger.load.pings.Log))
	must(d.t, err)
	answered := map[int]bool{}
	for line := range strings.Lines(string(text)) {
		_, seq, ok := strings.Cut(line, "icmp_seq=")
		n := 0
		if _, err := fmt.Sscan(seq, &n); ok && err == nil && strings.Contains(line, "] 64 bytes") {
			answered[n], sent = true, max(sent, n)
		}
	}
	return sent, sent - len(answered)
}
