package api

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// gate keeps what one project, or one stranger, asks for at a time from being
// what all others wait for. A conductor has workers for many requests, but one
// database and a few cores: what a project has in work is what another's request
// waits for at most.
type gate struct {
	calls     shares // requests in work at the conductor, by project
	questions shares // those that wait for a board or an agent there, by project
	pins      shares // those that wait for a board's pins, by project
	commands  shares // those about the code on boards, by project: most wait for a board
	bundles   shares // those that put or read bundles, by project
	strangers shares // logins and tokens that are not known yet, by source
	bodies    shares // bytes of bodies, by project
	logins    shares // bytes of bodies of logins, by source
	known     known
}

const (
	// loginBody bounds the body of a login, in bytes.
	loginBody = 8 << 10
	// leastBody is what the shortest body counts as: its request costs more
	// than its bytes.
	leastBody = 1 << 10
	// comeAgain is when who was refused may try again.
	comeAgain = time.Second
)

func (g *gate) init() {
	g.calls = shares{each: 8, all: 64, waiting: 256, patience: 5 * time.Second}
	g.questions = shares{each: 8, all: 48, waiting: 64, patience: 5 * time.Second}
	g.pins = shares{each: 32, all: 128, waiting: 256, patience: 5 * time.Second}
	g.commands = shares{each: 64, all: 256, waiting: 512, patience: 5 * time.Second}
	g.bundles = shares{each: 2, all: 8, waiting: 64, patience: 5 * time.Second}
	g.strangers = shares{each: 8, all: 32, waiting: 64, patience: 5 * time.Second}
	g.bodies = shares{each: 2 << 20, all: 8 << 20, waiting: 256, patience: 5 * time.Second}
	g.logins = shares{each: 64 << 10, all: 1 << 20, waiting: 32, patience: 2 * time.Second}
}

// tooMuch is the error of who did not get a share.
func tooMuch(op, who, what string) error {
	return s4t.Errorf(s4t.TooMany, op, "try again in a moment, with less at a time", "%s has too %s at a time", who, what).After(comeAgain)
}

// ask asks the conductor for who makes the request of ctx, when it is the turn
// of their project, or of their source where they have not said yet who they
// are.
func (a *API) ask(ctx context.Context, method string, req, reply any) error {
	s, key, who := &a.gate.calls, string(callerOf(ctx).Project), "the project"
	topic := wire.TopicOf(method)
	switch {
	case key == "":
		s, key, who = &a.gate.strangers, sourceOf(ctx), "the address that you come from"
	case topic == wire.TopicQuestions:
		s = &a.gate.questions
	case topic == wire.TopicPins:
		s = &a.gate.pins
	case topic == wire.TopicCommands:
		s = &a.gate.commands
	case topic == wire.TopicBundles:
		s = &a.gate.bundles
	}
	give, ok := s.take(ctx, key, 1)
	if !ok {
		if ctx.Err() != nil {
			return s4t.Errorf(s4t.Timeout, method, "", "%w", context.Cause(ctx))
		}
		return tooMuch(method, who, "many requests")
	}
	defer give()
	return a.queue.Call(ctx, topic, method, req, reply)
}

// admitBody is a middleware that has a body read only when there is room for it:
// by project, or by source where no token is needed.
func (a *API) admitBody(ctx huma.Context, next func(huma.Context)) {
	op := ctx.Operation()
	if op.RequestBody == nil {
		next(ctx)
		return
	}
	s, key, who := &a.gate.bodies, string(callerOf(ctx.Context()).Project), "the project"
	if key == "" {
		s, key, who = &a.gate.logins, sourceOf(ctx.Context()), "the address that you come from"
	}
	n := op.MaxBodyBytes // where the request does not say
	if r, _ := humago.Unwrap(ctx); r.ContentLength >= 0 {
		l := r.ContentLength
		n = min(n, max(l, leastBody))
	}
	give, ok := s.take(ctx.Context(), key, n)
	if !ok {
		a.refuse(ctx, "read the request", tooMuch("read the request", who, "much under way"))
		return
	}
	defer give()
	next(ctx)
}

// refuse answers a request before its route does.
func (a *API) refuse(ctx huma.Context, op string, err error) {
	p := a.answer(ctx.Context(), op, err).(*problem)
	if p.Kind == s4t.Unauthenticated {
		ctx.SetHeader("WWW-Authenticate", `Bearer realm="s4t"`)
	}
	for k, v := range p.GetHeaders() {
		ctx.SetHeader(k, v[0])
	}
	ctx.SetHeader("Content-Type", p.ContentType(""))
	ctx.SetStatus(p.Status)
	json.NewEncoder(ctx.BodyWriter()).Encode(p)
}

// sourceKey is the context key of where a request comes from.
type sourceKey struct{}

// sourceOf is where a request comes from; see [s4t.SourceOf].
func sourceOf(ctx context.Context) string {
	s, _ := ctx.Value(sourceKey{}).(string)
	return s
}

// withSource puts it there.
func withSource(ctx context.Context, remote string) context.Context {
	return context.WithValue(ctx, sourceKey{}, s4t.SourceOfPeer(remote))
}

// maxKnown bounds the tokens whose project is remembered.
const maxKnown = 4096

// known remembers the projects of tokens, so that to look at a token again is
// the project's request and no stranger's. What a token is worth is asked for
// each time.
type known struct {
	mu sync.Mutex // guards m; a leaf
	m  map[[sha256.Size]byte]s4t.ProjectID
}

func (k *known) get(secret string) s4t.ProjectID {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.m[sha256.Sum256([]byte(secret))]
}

// set notes the project of a token; none: it is worth nothing.
func (k *known) set(secret string, project s4t.ProjectID) {
	sum := sha256.Sum256([]byte(secret))
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case project == "":
		delete(k.m, sum)
		return
	case k.m == nil || len(k.m) >= maxKnown && k.m[sum] == "":
		k.m = map[[sha256.Size]byte]s4t.ProjectID{} // who comes again is known again
	}
	k.m[sum] = project
}
