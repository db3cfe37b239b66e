package queue

import (
	"context"

	"github.com/stack4things/s4t"
)

// Origin is what a message is sent for. It goes with the message to who handles it, and so
// through all processes: what they log, and traces, name it. It decides nothing.
type Origin struct {
	Trace     string          // of W3C Trace Context, a header traceparent; empty: nobody traces it
	Operation s4t.OperationID // that it is a part of; empty: of none
}

// maxOrigin bounds either text, in bytes: what is longer is none of ours.
const maxOrigin = 64

// originKey is the context key of an [Origin].
type originKey struct{}

// WithOrigin says what is done under the context is done for, so that messages carry it.
func WithOrigin(ctx context.Context, o Origin) context.Context {
	if len(o.Trace) > maxOrigin {
		o.Trace = ""
	}
	if len(o.Operation) > maxOrigin {
		o.Operation = ""
	}
	if o == (Origin{}) && ctx.Value(originKey{}) == nil {
		return ctx
	}
	return context.WithValue(ctx, originKey{}, o)
}

// OriginOf is what WithOrigin said last; in a [Handler], what its message is sent for.
func OriginOf(ctx context.Context) Origin {
	o, _ := ctx.Value(originKey{}).(Origin)
	return o
}

// ForOperation says that what is done under the context is a part of an operation, besides what
// it is traced as.
func ForOperation(ctx context.Context, id s4t.OperationID) context.Context {
	o := OriginOf(ctx)
	o.Operation = id
	return WithOrigin(ctx, o)
}
