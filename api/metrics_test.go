package api

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

func TestMetricsAreInTheTextFormatOfPrometheus(t *testing.T) {
	text := string(renderMetrics(wire.Metrics{
		Boards: map[s4t.BoardStatus]int{s4t.BoardOnline: 2, s4t.BoardOffline: 0},
		Ports: []wire.PortMetrics{
			{ID: "p2", Board: "garden", Network: "n1", Project: "x", Status: s4t.PortPending},
			{ID: "p1", Board: "attic", Network: "n1", Project: "x", Status: s4t.PortUp, Counters: &s4t.PortCounters{RxFrames: 7, TxBytes: 9, Dropped: s4t.PortDropped{Storm: 3}}},
		},
		Uplinks: []wire.UplinkMetrics{{Network: "n1", Name: "lab", Project: "x", Bridge: "br0", Status: s4t.PortUp, Counters: &s4t.PortCounters{}}},
	}, wire.BoardMetrics{ID: "b1", Name: "attic", Project: "x", Status: s4t.BoardOnline, At: time.Unix(7, 0), Health: &s4t.Health{Load1: 1, MemoryUsed: 5, Temperature: new(float64), ReceivedBytes: 1 << 40, Version: "1.2"}},
		wire.BoardMetrics{ID: "b2", Name: "cellar", Project: "x", Status: s4t.BoardOffline}))
	for _, want := range []string{
		"# HELP s4t_boards Boards, by status.\n# TYPE s4t_boards gauge\ns4t_boards{status=\"offline\"} 0\ns4t_boards{status=\"online\"} 2\n",
		`s4t_port_up{port="p1",board="attic",network="n1",project="x"} 1` + "\n" + `s4t_port_up{port="p2",board="garden",network="n1",project="x"} 0` + "\n",
		`s4t_port_frames_total{port="p1",board="attic",network="n1",project="x",direction="in"} 7` + "\n",
		`s4t_port_bytes_total{port="p1",board="attic",network="n1",project="x",direction="out"} 9` + "\n",
		`s4t_port_dropped_frames_total{port="p1",board="attic",network="n1",project="x",reason="storm"} 3` + "\n",
		`s4t_board_up{board="attic",board_id="b1",project="x"} 1` + "\n" + `s4t_board_up{board="cellar",board_id="b2",project="x"} 0` + "\n",
		"# TYPE s4t_board_received_bytes_total counter\n" + `s4t_board_received_bytes_total{board="attic",board_id="b1",project="x"} 1099511627776` + "\n",
		`s4t_board_temperature_celsius{board="attic",board_id="b1",project="x"} 0` + "\n",
		`s4t_board_reported_timestamp_seconds{board="attic",board_id="b1",project="x"} 7` + "\n",
		`s4t_board_agent_info{board="attic",board_id="b1",project="x",version="1.2"} 1` + "\n",
		`s4t_uplink_up{network="n1",name="lab",bridge="br0",project="x"} 1` + "\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("it lacks\n%s", want)
		}
	}
	odd := string(renderMetrics(wire.Metrics{Uplinks: []wire.UplinkMetrics{{Name: "a\\b\"c\nd\x00é", Bridge: "br0"}}}))
	if want := `name="a\\b\"c\nd` + "\x00é" + `",bridge`; !strings.Contains(odd, want) {
		t.Errorf("%q lacks %q", odd, want)
	}
	sample := regexp.MustCompile(`^([a-z0-9_]+)\{([a-z_]+="[^"\\]*",?)+\} [0-9]+$`)
	family, seen := "", map[string]bool{}
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if name, ok := strings.CutPrefix(line, "# TYPE "); ok {
			family, _, _ = strings.Cut(name, " ")
			if seen[family] {
				t.Errorf("%s comes twice", family)
			}
			seen[family] = true
		}
		if m := sample.FindStringSubmatch(line); !strings.HasPrefix(line, "# ") && (m == nil || m[1] != family) {
			t.Errorf("%q is no sample of %s", line, family)
		}
	}
}
