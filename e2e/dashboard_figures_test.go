package e2e

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/internal/pagelab"
)

// TestDashboardFigures measures what pages cost: see `make bench-dashboard`. It judges nothing.
func TestDashboardFigures(t *testing.T) {
	if os.Getenv("S4T_BENCH_DASHBOARD") == "" {
		t.Skip("S4T_BENCH_DASHBOARD is not set: `make bench-dashboard` measures")
	}
	needBrowser(t)
	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 0, 3, ' ', 0)
	fmt.Fprintln(w, "measure\ttarget\tfigure")
	row := func(what, target, format string, a ...any) {
		fmt.Fprintf(w, "%s\t%s\t%s\n", what, target, fmt.Sprintf(format, a...))
	}

	start := func(boards int) *pagelab.Server {
		s, err := pagelab.Start(boards)
		must(t, err)
		t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
		return s
	}
	b := startBrowser(t, here{})
	small, many := start(100), start(10_000)

	var loads struct{ First, Again, Later, Empty float64 }
	key := sha256.Sum256(small.Certificate().RawSubjectPublicKeyInfo)
	b.do(&loads, "loads", step{"url": small.URL, "key": base64.StdEncoding.EncodeToString(key[:])})
	row("interactive, CPU slowed 4x, 10 Mbit/s, 40 ms", "1500 ms", "%.0f ms", loads.First)
	row("  again", "500 ms", "%.0f ms", loads.Again)
	row("  a third time", "", "%.0f ms", loads.Later)
	row("  a page with nothing in it", "", "%.0f ms", loads.Empty)

	b.do(nil, "open", step{"as": "admin", "link": many.Link()})
	var list struct {
		Usable, Filter, Frame, Empty float64
		Rows                         int
	}
	b.do(&list, "table", step{"as": "admin", "rows": 10_000, "words": []string{"site-077", "type:gateway", "!status:online", "board-0421", "floor=3"}})
	row("10,000 boards: list usable", "1500 ms", "%.0f ms", list.Usable)
	row("  filter, to the frame that shows it", "50 ms", "%.0f ms", list.Filter)
	row("  scroll, 95th percentile of frames", "1.1x of an empty page's", "%.2fx (%.1f of %.1f ms)", list.Frame/list.Empty, list.Frame, list.Empty)
	row("  rows in the document", "60", "%d", list.Rows)
	b.do(nil, "close", step{"as": "admin"})

	b = startBrowser(t, here{}) // pages of one share a heap
	b.do(nil, "open", step{"as": "left", "link": small.Link()})
	small.Await()
	heap := func(events int, last string) (used float64) {
		small.Replay(events, last)
		b.do(nil, "shows", step{"as": "left", "text": last})
		b.do(&used, "heap", step{"as": "left"})
		return used
	}
	before := heap(20_000, "the-first-minutes")
	row("growth of the heap after 360,000 events", "5.0 MB", "%.1f MB", (heap(360_000, "the-end-of-the-hour")-before)/1e6)
	b.do(nil, "close", step{"as": "left"})

	l := newDashboardLab(t, 3)
	for _, name := range []string{"pantry", "orchard", "belfry"} {
		_, err := l.AddBoard(t.Context(), name)
		must(t, err)
	}
	var worst time.Duration
	var which int
	var all []time.Duration
	for _, pair := range [][2]string{{"pantry", "orchard"}, {"orchard", "belfry"}, {"belfry", "pantry"}} {
		var at map[string]int64
		l.do(&at, "pixels", step{"as": "admin", "from": pair[0], "onto": pair[1]})
		var bridges []s4t.Bridge
		s4tJSON(t, l.Cloud, &bridges, "bridge", "list")
		var ops []s4t.Operation
		s4tJSON(t, l.Cloud, &ops, "operation", "list")
		var op s4t.Operation
		for _, o := range ops {
			if o.Kind == "bridge.create" && o.CreatedAt.After(op.CreatedAt) {
				op = o
			}
		}
		s4tJSON(t, l.Cloud, &op, "operation", "show", string(op.ID))
		for _, s := range op.Steps {
			n := s.Number
			seen, ok := at[strconv.Itoa(n)]
			if took := time.UnixMilli(seen).Sub(s.At); ok && n > 1 && n < 10 { // of 1 the page is who asks, and of 10 who is told
				if all = append(all, took); took > worst {
					worst, which = took, n
				}
			}
		}
		for _, bridge := range bridges {
			runS4T(t, l.Cloud, "bridge", "delete", bridge.Name)
		}
	}
	slices.Sort(all)
	row("a step at the conductor to the pixel", "100 ms", "%d ms, the slowest of %d %d ms (step %d)", all[len(all)/2].Milliseconds(), len(all), worst.Milliseconds(), which)

	l.do(nil, "watch", step{"as": "admin", "board": "belfry", "status": "offline"})
	cut := time.Now()
	must(t, l.Boards[2].Cut())
	var at int64
	l.do(&at, "seen", step{"as": "admin"})
	row("a board is cut off, to the pixel", "10.5 s", "%.1f s", time.UnixMilli(at).Sub(cut).Seconds())

	w.Flush()
	fmt.Print("\n", table.String(), "\n")
}
