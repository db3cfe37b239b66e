package cloud

import (
	"context"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/queue"
)

// metrics are how this process does, for its operator: what users see of their boards
// is the API's own (/v1/metrics).
type metrics struct {
	addr     net.Addr // of the operator's port; nil: there is none
	registry *prometheus.Registry
	requests *prometheus.HistogramVec // of the API, by operation and class of status
	calls    *prometheus.HistogramVec // over the queue, by method and outcome
	handled  *prometheus.HistogramVec // of messages that came over the queue
}

// buckets are bounds of durations in seconds: a message over the queue takes some 10 us in one
// process, what waits for a board seconds.
var buckets = []float64{.0001, .0003, .001, .003, .01, .03, .1, .3, 1, 3, 10}

func newMetrics(cfg Config) *metrics {
	m := &metrics{registry: prometheus.NewRegistry()}
	histogram := func(name, help string, labels ...string) *prometheus.HistogramVec {
		v := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
		m.registry.MustRegister(v)
		return v
	}
	m.requests = histogram("s4t_api_request_seconds", "How long requests to the API took.", "operation", "code")
	m.calls = histogram("s4t_queue_call_seconds", "How long calls over the queue took, for their caller.", "method", "outcome")
	m.handled = histogram("s4t_queue_handler_seconds", "How long messages from the queue took, for who handled them.", "method", "outcome")
	info := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "s4t_build_info", Help: "1, with what this process is."}, []string{"version", "roles", "go"})
	info.WithLabelValues(cfg.Version, joinRoles(cfg.Roles), runtime.Version()).Set(1)
	m.registry.MustRegister(info, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// gauge adds a figure that is read when it is asked for.
func (m *metrics) gauge(name, help string, read func() float64) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, read))
}

// counter is gauge for what only grows.
func (m *metrics) counter(name, help string, read func() float64) {
	m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, read))
}

// observe notes a request of the API.
func (m *metrics) observe(operation string, status int, took time.Duration) {
	m.requests.WithLabelValues(operation, strconv.Itoa(status/100)+"xx").Observe(took.Seconds())
}

// outcome is "ok", or the kind of an error.
func outcome(err error) string {
	if err == nil {
		return "ok"
	}
	return string(s4t.KindOf(err))
}

// measuredQueue notes how long messages take.
type measuredQueue struct {
	Queue
	m *metrics
}

// Call implements Queue.
func (q measuredQueue) Call(ctx context.Context, topic, method string, req, reply any) error {
	began := time.Now()
	err := q.Queue.Call(ctx, topic, method, req, reply)
	q.m.calls.WithLabelValues(method, outcome(err)).Observe(time.Since(began).Seconds())
	return err
}

// Serve implements Queue.
func (q measuredQueue) Serve(ctx context.Context, topic, server string, workers int, h queue.Handler) error {
	return q.Queue.Serve(ctx, topic, server, workers, func(ctx context.Context, method string, body []byte) ([]byte, error) {
		began := time.Now()
		reply, err := h(ctx, method, body)
		what := method
		if s4t.KindOf(err) == s4t.NotFound { // also a method that nobody knows: its name is no label
			what = "not found"
		}
		q.m.handled.WithLabelValues(what, outcome(err)).Observe(time.Since(began).Seconds())
		return reply, err
	})
}

// operatorsPort serves /metrics, /healthz and /readyz in plain HTTP to those who
// may reach it: nobody is asked who he is.
type operatorsPort struct {
	net.Listener
	srv *http.Server
}

// listenForOperator opens the port; ready says why the process is not ready, nil that it is.
func listenForOperator(addr string, m *metrics, ready func(context.Context) error) (*operatorsPort, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, s4t.Errorf(s4t.Unavailable, "listen for the operator on "+addr, "choose another address with --metrics", "%w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4}))
	mux.HandleFunc("GET /healthz", healthz)
	mux.HandleFunc("GET /readyz", readyz(ready))
	return &operatorsPort{Listener: l, srv: &http.Server{Handler: mux, ReadHeaderTimeout: s4t.HandshakeTimeout, WriteTimeout: answerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader}}, nil
}

// run serves until ctx ends.
func (p *operatorsPort) run(ctx context.Context) error { return serveHTTP(ctx, p.srv, p.Listener) }

// healthz says that the process lives.
func healthz(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Write([]byte("ok\n"))
}

// readyz says whether the process can do its work now, and what it lacks.
func readyz(ready func(context.Context) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		if err := ready(r.Context()); err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			w.Write([]byte(s4t.Line(err.Error(), maxReason) + "\n"))
			return
		}
		w.Write([]byte("ok\n"))
	}
}

// maxReason bounds what readyz says, in bytes.
const maxReason = 1024
