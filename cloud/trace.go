package cloud

import (
	"context"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/lograte"
	"github.com/stack4things/s4t/queue"
)

// tracing tells an OpenTelemetry collector what became of users' requests: a span for the
// request, and one for each message that is sent and handled for it, in whatever process. What
// a cloud does by itself (beats, upkeep) is not traced. A nil *tracing traces nothing.
type tracing struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
}

// traceFlush bounds how long a process that ends waits for its collector.
const traceFlush = 2 * time.Second

// newTracing begins to trace. The collector need not be there: spans that it does not take are
// lost, and at most 2,048 wait. How many requests are traced is said by the variables of the
// OpenTelemetry SDK (OTEL_TRACES_SAMPLER, OTEL_TRACES_SAMPLER_ARG); as is what to send along
// (OTEL_EXPORTER_OTLP_HEADERS).
func newTracing(ctx context.Context, cfg Config) (*tracing, error) {
	op := "send traces to " + cfg.Traces
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(cfg.Traces))
	if err != nil {
		return nil, s4t.Errorf(s4t.Invalid, op, "use the URL of an OTLP receiver, like http://127.0.0.1:4318/v1/traces", "%w", err)
	}
	about, err := resource.New(ctx, resource.WithAttributes(
		attribute.String("service.name", "iotronic"), attribute.String("service.version", cfg.Version),
		attribute.String("service.instance.id", cfg.Name), attribute.String("s4t.roles", joinRoles(cfg.Roles)),
	), resource.WithFromEnv())
	if err != nil {
		return nil, s4t.Errorf(s4t.Invalid, op, "see OTEL_RESOURCE_ATTRIBUTES", "%w", err)
	}
	var line lograte.Line
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		line.Warn(cfg.Log, "traces are lost", "to", cfg.Traces, "err", err)
	}))
	t := &tracing{provider: sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(about))}
	t.tracer = t.provider.Tracer("github.com/stack4things/s4t")
	return t, nil
}

// close sends what waits.
func (t *tracing) close() {
	ctx, cancel := context.WithTimeout(context.Background(), traceFlush)
	defer cancel()
	t.provider.Shutdown(ctx) // an error was told as it happened
}

// request begins the span of a request of a user, who has no say in it: a header traceparent of
// his is not looked at. done is told the status of the answer.
func (t *tracing) request(ctx context.Context, operation string) (context.Context, func(status int)) {
	if t == nil {
		return ctx, func(int) {}
	}
	ctx, span := t.tracer.Start(ctx, operation, trace.WithNewRoot(), trace.WithSpanKind(trace.SpanKindServer))
	return originated(ctx), func(status int) {
		span.SetAttributes(attribute.Int("http.response.status_code", status))
		if status >= 500 {
			span.SetStatus(codes.Error, strconv.Itoa(status))
		}
		span.End()
	}
}

// around notes how long a request of the API took, and traces it.
func (c *Cloud) around(ctx context.Context, operation string) (context.Context, func(status int)) {
	began := time.Now()
	ctx, done := c.tracing.request(ctx, operation)
	return ctx, func(status int) {
		c.metrics.observe(operation, status, time.Since(began))
		done(status)
	}
}

// message begins the span of a message that is sent or handled for something that is traced.
func (t *tracing) message(ctx context.Context, kind trace.SpanKind, topic, method string) (context.Context, func(error)) {
	if !trace.SpanContextFromContext(ctx).IsValid() {
		ctx = propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{headerTraceparent: queue.OriginOf(ctx).Trace})
	}
	if !trace.SpanContextFromContext(ctx).IsSampled() {
		return ctx, func(error) {}
	}
	ctx, span := t.tracer.Start(ctx, method, trace.WithSpanKind(kind), trace.WithAttributes(attribute.String("messaging.destination.name", topic)))
	if id := queue.OriginOf(ctx).Operation; id != "" {
		span.SetAttributes(attribute.String("s4t.operation", string(id)))
	}
	return originated(ctx), func(err error) {
		if err != nil {
			span.SetAttributes(attribute.String("error.type", string(s4t.KindOf(err))))
			span.SetStatus(codes.Error, s4t.Line(err.Error(), maxReason))
		}
		span.End()
	}
}

// headerTraceparent is the header of W3C Trace Context.
const headerTraceparent = "traceparent"

// originated has messages carry the span of the context.
func originated(ctx context.Context) context.Context {
	header := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, header)
	o := queue.OriginOf(ctx)
	o.Trace = header[headerTraceparent]
	return queue.WithOrigin(ctx, o)
}

// tracedQueue traces messages.
type tracedQueue struct {
	Queue
	t *tracing
}

// Call implements Queue.
func (q tracedQueue) Call(ctx context.Context, topic, method string, req, reply any) error {
	ctx, done := q.t.message(ctx, trace.SpanKindClient, topic, method)
	err := q.Queue.Call(ctx, topic, method, req, reply)
	done(err)
	return err
}

// Cast implements Queue.
func (q tracedQueue) Cast(ctx context.Context, topic, method string, req any) error {
	ctx, done := q.t.message(ctx, trace.SpanKindProducer, topic, method)
	err := q.Queue.Cast(ctx, topic, method, req)
	done(err)
	return err
}

// Serve implements Queue.
func (q tracedQueue) Serve(ctx context.Context, topic, server string, workers int, h queue.Handler) error {
	return q.Queue.Serve(ctx, topic, server, workers, func(ctx context.Context, method string, body []byte) ([]byte, error) {
		ctx, done := q.t.message(ctx, trace.SpanKindServer, topic, method)
		reply, err := h(ctx, method, body)
		done(err)
		return reply, err
	})
}

// originLog has each line say what was done for whom, where its context knows: the id of the
// operation, and that of the trace.
type originLog struct{ slog.Handler }

// Handle implements slog.Handler.
func (l originLog) Handle(ctx context.Context, r slog.Record) error {
	o := queue.OriginOf(ctx)
	r = r.Clone() // its attributes may be others' too
	if o.Operation != "" {
		r.AddAttrs(slog.String("operation", string(o.Operation)))
	}
	if parts := strings.Split(o.Trace, "-"); len(parts) == 4 {
		r.AddAttrs(slog.String("trace", parts[1]))
	}
	return l.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (l originLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	return originLog{l.Handler.WithAttrs(attrs)}
}

// WithGroup implements slog.Handler.
func (l originLog) WithGroup(name string) slog.Handler { return originLog{l.Handler.WithGroup(name)} }
