package e2e

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/bench/proc"
	"github.com/stack4things/s4t/internal/cloudlab"
	"github.com/stack4things/s4t/internal/netlab"
	"github.com/stack4things/s4t/internal/rabbittest"
)

// TestRateAcrossAgents is `make bench-peers`: two boards on a bridge at one tunnel
// agent, and on one across two, over wss, measured in turns.
func TestRateAcrossAgents(t *testing.T) {
	rounds, _ := strconv.Atoi(os.Getenv("S4T_BENCH_PEERS"))
	if rounds == 0 {
		t.Skip("a measurement: make bench-peers")
	}
	lab, err := netlab.NewFlat(2)
	must(t, err)
	t.Cleanup(func() { lab.Close() })
	node := rabbittest.Own(t)
	carryTo(t, lab.Cloud, "10.99.1.1:5672", node.Addr())
	q, err := url.Parse(node.URL(t))
	must(t, err)
	q.Host = "10.99.1.1:5672"
	c := &cloudlab.Cloud{Lab: lab, Bin: bin, Data: filepath.Join(lab.Dir, "data"), Listen: "10.99.1.1:8812", Args: []string{"--queue", q.String(), "--name", "one", "--place", "here"}}
	showLogs(t, c)
	must(t, c.Run())
	joinBoards(t, c, 2)
	bridge := func(name string) (to string) {
		var b s4t.Bridge
		s4tJSON(t, c, &b, "bridge", "create", name, "--board", "board1", "--board", "board2")
		to = addressOf(t, b, "board2", false)
		within(t, brokerPatience, "ping across "+name, func() error { return ping(t.Context(), c.Boards[0].Host, to) })
		return to
	}
	ways := map[string]string{"one agent": bridge("near")}
	second, err := lab.Cloud.Start("iotronic-two", nil, filepath.Join(bin, "iotronic"), "serve", "--role", "tunnel-agent", "--name", "two", "--place", "there", "--queue", q.String(), "--listen", "10.99.1.1:8814")
	must(t, err)
	_, err = second.WaitLine("ready ", 0, brokerPatience)
	must(t, err)
	runS4T(t, c, "board", "update", "board1", "--label", "place=here")
	runS4T(t, c, "board", "update", "board2", "--label", "place=there")
	ways["two agents"] = bridge("across")
	var n s4t.Network
	s4tJSON(t, c, &n, "network", "show", "across")
	if len(n.TunnelAgents) != 2 {
		t.Fatalf("the network is at %v", n.TunnelAgents)
	}
	_, err = c.Boards[1].Host.Start("iperf", nil, "iperf3", "-s", "-p", "5201")
	must(t, err)
	must(t, c.Boards[1].Host.WaitListen(5201, brokerPatience))

	pids := []int{c.Process.Pid(), second.Pid(), c.Boards[0].Process.Pid(), c.Boards[1].Process.Pid()}
	got := map[string]map[string][]float64{} // by what, by way
	note := func(what, way string, v float64) {
		if got[what] == nil {
			got[what] = map[string][]float64{}
		}
		got[what][way] = append(got[what][way], v)
	}
	run := func(to string, args ...string) (gbps, pps, gib float64) {
		out, err := c.Boards[0].Host.Run(t.Context(), append([]string{"iperf3", "-J", "-c", to, "-p", "5201", "-t", "2"}, args...)...)
		must(t, err)
		var r struct {
			End struct {
				Received struct {
					Bits  float64 `json:"bits_per_second"`
					Bytes float64 `json:"bytes"`
				} `json:"sum_received"`
				Sum struct {
					Packets float64 `json:"packets"`
					Lost    float64 `json:"lost_packets"`
					Seconds float64 `json:"seconds"`
				} `json:"sum"`
			} `json:"end"`
		}
		must(t, json.Unmarshal([]byte(out), &r))
		return r.End.Received.Bits / 1e9, (r.End.Sum.Packets - r.End.Sum.Lost) / max(r.End.Sum.Seconds, 1) / 1e3, r.End.Received.Bytes / (1 << 30)
	}
	for range rounds {
		for _, way := range []string{"one agent", "two agents"} {
			before := proc.CPU(pids...)
			gbps, _, gib := run(ways[way])
			note("Gbit/s, one stream", way, gbps)
			note("CPU s/GiB", way, (proc.CPU(pids...)-before)/max(gib, 1e-9))
			gbps, _, _ = run(ways[way], "-R", "-P", "4")
			note("Gbit/s, four streams back", way, gbps)
			_, pps, _ := run(ways[way], "-u", "-l", "64", "-b", "0")
			note("64-byte datagrams, thousands/s", way, pps)
		}
	}
	for what, by := range got {
		for _, v := range by {
			slices.Sort(v)
		}
		one, two := by["one agent"][rounds/2], by["two agents"][rounds/2]
		fmt.Printf("%-32s one agent %7.2f   two agents %7.2f   ratio %.2f   %v\n", what, one, two, two/one, by)
	}
}
