package nameserver

import (
	"context"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

const (
	// maxKnown bounds the names that are remembered, and maxUnknown those that no service
	// has: of these anybody can make up any number.
	maxKnown   = 16384
	maxUnknown = 4096
	// maxAsks is how many names the conductor is asked for at a time: its users come first.
	maxAsks = 16
	// askTimeout is less than a resolver waits.
	askTimeout = 2 * time.Second
	// keepStale is how long the last that was known is told while no conductor answers.
	keepStale = time.Hour
)

// Queue is what a name server needs of the queue.
type Queue interface {
	Call(ctx context.Context, topic, method string, req, reply any) error
}

// names asks the conductor what names stand for, and remembers.
type names struct {
	queue  Queue
	now    func() time.Time
	asks   chan struct{}      // full: no more are asked for now
	asking singleflight.Group // by generation and name

	mu         sync.Mutex // guards what follows; a leaf
	generation uint64     // grows where something may have changed: what was known before is asked for again
	known      map[string]knownName
	unknown    map[string]knownName // no service has them
}

// knownName is what a name stood for.
type knownName struct {
	place      wire.ServicePlace
	at         time.Time
	generation uint64
}

func newNames(q Queue, now func() time.Time) *names {
	return &names{queue: q, now: now, asks: make(chan struct{}, maxAsks), known: map[string]knownName{}, unknown: map[string]knownName{}}
}

// forget has all names asked for again. What is on its way does not count.
func (n *names) forget() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.generation++
}

// fresh reports whether it may be told. n.mu is held.
func (n *names) fresh(k knownName, now time.Time) bool {
	return k.generation == n.generation && now.Sub(k.at).Abs() < TTL
}

// remembered returns what is known of a name; stale: only to be told if nobody knows
// better.
func (n *names) remembered(name string) (place wire.ServicePlace, generation uint64, fresh, stale bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := n.now()
	if k, ok := n.known[name]; ok {
		return k.place, n.generation, n.fresh(k, now), now.Sub(k.at).Abs() < keepStale
	}
	k, ok := n.unknown[name]
	return place, n.generation, ok && n.fresh(k, now), false
}

// note remembers what the conductor said in a generation.
func (n *names) note(name string, generation uint64, place wire.ServicePlace) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.known, name)
	delete(n.unknown, name)
	into, most := n.unknown, maxUnknown
	if place.Host != "" {
		into, most = n.known, maxKnown
	}
	if len(into) >= most {
		clear(into)
	}
	into[name] = knownName{place, n.now(), generation}
}

// find says where the service with a name is; no host: none has it.
func (n *names) find(ctx context.Context, name string) (wire.ServicePlace, error) {
	place, generation, fresh, stale := n.remembered(name)
	if fresh {
		return place, nil
	}
	found, err := n.ask(ctx, name, generation)
	if err != nil && stale {
		return place, nil
	}
	return found, err
}

// ask asks the conductor; several who ask for one name ask once.
func (n *names) ask(ctx context.Context, name string, generation uint64) (wire.ServicePlace, error) {
	answer, err, _ := n.asking.Do(strconv.FormatUint(generation, 10)+"/"+name, func() (any, error) {
		select {
		case n.asks <- struct{}{}:
			defer func() { <-n.asks }()
		default:
			return wire.ServicePlace{}, s4t.Errorf(s4t.TooMany, "look up the name "+name, "ask again", "%d names are looked up already", maxAsks)
		}
		ctx, cancel := context.WithTimeout(ctx, askTimeout)
		defer cancel()
		var place wire.ServicePlace
		if err := n.queue.Call(ctx, wire.TopicConductor, wire.MethodServiceLookup, wire.ServiceLookup{Name: name}, &place); err != nil {
			return place, err
		}
		n.note(name, generation, place)
		return place, nil
	})
	return answer.(wire.ServicePlace), err
}
