package api

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// metricsText is the content type of the Prometheus text format, which is
// small enough to write by hand; see decision 008.
const metricsText = "text/plain; version=0.0.4; charset=utf-8"

// metricsRoutes show figures to a Prometheus server.
func (a *API) metricsRoutes() {
	register(a, guarded, "GET /v1/metrics", "metrics", "Read metrics", "Boards, ports and uplinks that the caller may see, in the text format of Prometheus. Of boards at most 1000 are in one answer: the header Link leads to the rest, of which ports and uplinks are no part.",
		func(ctx context.Context, in *metricsQuery) (*metricsAnswer, error) {
			labels, possible, err := parseLabels("read metrics", in.Label)
			if err != nil {
				return nil, a.answer(ctx, "metrics", err)
			}
			var all wire.Metrics
			if in.After == "" && in.Project == "" && len(in.Label) == 0 {
				if all, err = a.metrics(ctx); err != nil {
					return nil, err
				}
			}
			var boards wire.HealthMetrics
			if possible {
				if boards, err = a.boardMetrics(ctx, wire.HealthAsk{Project: in.Project, Labels: labels, Page: wire.Page{After: in.After}}); err != nil {
					return nil, err
				}
			}
			page := PageRest{self: in.self}
			return &metricsAnswer{metricsText, page.link(boards.Next), renderMetrics(all, boards.Boards...)}, nil
		},
		func(op *huma.Operation) {
			op.Responses = map[string]*huma.Response{"200": {Description: "Metrics", Content: map[string]*huma.MediaType{"text/plain": {Schema: &huma.Schema{Type: huma.TypeString}}}}}
		})
}

// metricsQuery chooses boards.
type metricsQuery struct {
	Project string   `query:"project" maxLength:"63" doc:"Name or id: boards of this project only, and nothing else"`
	Label   []string `query:"label,explode" maxItems:"64" doc:"K=V; repeated: boards with all of them, and nothing else"`
	After   string   `query:"after" maxLength:"1024" doc:"Where the answer before ended, as its header Link says it: more boards, and nothing else"`

	self url.URL // of the request
}

// Resolve keeps the URL, for the link to the rest.
func (q *metricsQuery) Resolve(ctx huma.Context) []error {
	q.self = ctx.URL()
	return nil
}

// metricsAnswer is a text of metrics.
type metricsAnswer struct {
	ContentType string `header:"Content-Type"`
	Link        string `header:"Link" doc:"<URL>; rel=\"next\": the path of the rest of the boards; absent where there are no more"`
	Body        []byte
}

// boardMetrics asks for as many boards as one answer has.
func (a *API) boardMetrics(ctx context.Context, ask wire.HealthAsk) (wire.HealthMetrics, error) {
	all := wire.HealthMetrics{Next: ask.Page.After}
	ask.Caller = callerOf(ctx)
	for {
		ask.Page.After = all.Next
		ask.Page.Limit = min(wire.MaxMetricsBoards-len(all.Boards), wire.MaxPage)
		page, err := call[wire.HealthMetrics](ctx, a, wire.MethodHealthAll, ask)
		if err != nil {
			return all, err
		}
		all.Boards, all.Next = append(all.Boards, page.Boards...), page.Next
		if page.Next == "" || len(page.Boards) == 0 || len(all.Boards) >= wire.MaxMetricsBoards {
			return all, nil
		}
	}
}

// metrics asks for page after page.
func (a *API) metrics(ctx context.Context) (wire.Metrics, error) {
	var all wire.Metrics
	for after := ""; ; {
		page, err := call[wire.Metrics](ctx, a, wire.MethodMetrics, wire.MetricsAsk{Caller: callerOf(ctx), After: after})
		if err != nil {
			return all, err
		}
		if after == "" {
			all.Boards, all.Uplinks = page.Boards, page.Uplinks
		}
		all.Ports = append(all.Ports, page.Ports...)
		if page.Next == "" || page.Next == after {
			return all, nil
		}
		after = page.Next
	}
}

// family is one metric with its samples.
type family struct {
	name, kind, help string
	samples          strings.Builder
}

// families collects samples of each metric: the format wants them together.
type families struct {
	order []string
	m     map[string]*family
}

func (f *families) add(name, kind, help string, value any, labels ...string) {
	if f.m[name] == nil {
		f.m[name] = &family{name: name, kind: kind, help: help}
		f.order = append(f.order, name)
	}
	b := &f.m[name].samples
	b.WriteString(name)
	for i := 0; i+1 < len(labels); i += 2 {
		fmt.Fprintf(b, `%c%s="%s"`, "{,"[min(i, 1)], labels[i], escapeLabel.Replace(labels[i+1]))
	}
	fmt.Fprintf(b, "} %v\n", value)
}

// The format escapes these and nothing else; text is UTF-8.
var (
	escapeLabel = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)
	escapeHelp  = strings.NewReplacer(`\`, `\\`, "\n", `\n`)
)

// counters adds what a port or uplink counted. Rx is from the far end.
func (f *families) counters(noun string, n *s4t.PortCounters, labels []string) {
	if n == nil {
		return
	}
	with := func(more ...string) []string { return append(slices.Clip(labels), more...) }
	const frames, bytes, dropped = "Ethernet frames or IP packets; a super-frame is one", "Bytes of frames", "Frames that did not pass, by reason"
	f.add("s4t_"+noun+"_frames_total", "counter", frames, n.RxFrames, with("direction", "in")...)
	f.add("s4t_"+noun+"_frames_total", "counter", frames, n.TxFrames, with("direction", "out")...)
	f.add("s4t_"+noun+"_bytes_total", "counter", bytes, n.RxBytes, with("direction", "in")...)
	f.add("s4t_"+noun+"_bytes_total", "counter", bytes, n.TxBytes, with("direction", "out")...)
	v := reflect.ValueOf(n.Dropped)
	for i := range v.NumField() {
		reason, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		f.add("s4t_"+noun+"_dropped_frames_total", "counter", dropped, v.Field(i).Uint(), with("reason", reason)...)
	}
}

// renderMetrics writes the text format.
func renderMetrics(all wire.Metrics, boards ...wire.BoardMetrics) []byte {
	f := families{m: map[string]*family{}}
	for _, status := range slices.Sorted(maps.Keys(all.Boards)) {
		f.add("s4t_boards", "gauge", "Boards, by status", all.Boards[status], "status", string(status))
	}
	up := func(s s4t.PortStatus) int {
		if s == s4t.PortUp {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(all.Ports, func(a, b wire.PortMetrics) int { return cmp.Compare(a.Board, b.Board) })
	for _, p := range all.Ports {
		labels := []string{"port", string(p.ID), "board", p.Board, "network", string(p.Network), "project", string(p.Project)}
		f.add("s4t_port_up", "gauge", "Whether both halves of a port are up", up(p.Status), labels...)
		f.counters("port", p.Counters, labels)
	}
	for _, u := range all.Uplinks {
		labels := []string{"network", string(u.Network), "name", u.Name, "bridge", u.Bridge, "project", string(u.Project)}
		f.add("s4t_uplink_up", "gauge", "Whether a network is in its Linux bridge", up(u.Status), labels...)
		f.counters("uplink", u.Counters, labels)
	}
	for _, b := range boards {
		f.health(b)
	}
	var b bytes.Buffer
	for _, name := range f.order {
		m := f.m[name]
		fmt.Fprintf(&b, "# HELP %s %s.\n# TYPE %s %s\n%s", m.name, escapeHelp.Replace(m.help), m.name, m.kind, m.samples.String())
	}
	return b.Bytes()
}
