package cloud

import (
	"context"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/stack4things/s4t/wire"
)

const (
	// reachFor is for how long it is taken as true where tunnel agents are, and reachAgain
	// after how long it is asked again where nobody answered.
	reachFor   = 30 * time.Second
	reachAgain = time.Second
	// reachTimeout bounds one question.
	reachTimeout = 10 * time.Second
)

// reach knows the origins that the dashboard's pages open WebSockets to, besides the cloud's
// own: tunnel agents with addresses of their own. It asks at the start, and then when pages
// are loaded; who loads one gets what is known and does not wait.
type reach struct {
	queue  Queue
	own    string        // origin that pages reach anyway
	wanted chan struct{} // cap 1: a page was loaded, and what is known is old

	mu    sync.Mutex // guards the fields below; a leaf
	known []string
	old   time.Time // when what is known is to be asked again
}

func newReach(q Queue, cloud string) *reach {
	own, _ := wssOrigin(cloud)
	return &reach{queue: q, own: own, wanted: make(chan struct{}, 1)}
}

// origins are those that are known now.
func (r *reach) origins() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Now().After(r.old) {
		select {
		case r.wanted <- struct{}{}:
		default: // it is asked already
		}
	}
	return r.known
}

// run asks until ctx ends.
func (r *reach) run(ctx context.Context) error {
	for {
		r.ask(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-r.wanted:
		}
	}
}

// ask asks the conductor once, where what is known is old. Where it does not answer, what was
// known stays.
func (r *reach) ask(ctx context.Context) {
	r.mu.Lock()
	fresh := time.Now().Before(r.old)
	r.mu.Unlock()
	if fresh {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	var at wire.AgentsAt
	err := r.queue.Call(ctx, wire.TopicOf(wire.MethodAgentsReach), wire.MethodAgentsReach, wire.AgentsReach{}, &at)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.old = time.Now().Add(reachAgain)
		return
	}
	r.known, r.old = wssOrigins(at.URLs, r.own), time.Now().Add(reachFor)
}

// wssOrigins are the origins of URLs that a page's policy may name, each once, without own;
// as many as a header has room for.
func wssOrigins(urls []string, own string) []string {
	var l []string
	for _, u := range urls {
		if o, ok := wssOrigin(u); ok && o != own && !slices.Contains(l, o) && len(l) < wire.MaxAgentsAt {
			l = append(l, o)
		}
	}
	return l
}

// wssOrigin is the origin of WebSockets to an https URL as a policy names it (CSP level 3,
// 2.3.1): it goes into a header, in which nothing but a name and a port may be. Policies have
// no IPv6 addresses.
func wssOrigin(raw string) (string, bool) {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "https" || u.User != nil {
		return "", false
	}
	host := strings.ToLower(u.Hostname())
	if addr, err := netip.ParseAddr(host); err == nil && !addr.Is4() {
		return "", false
	}
	if host == "" || len(host) > 253 || strings.Trim(host, "abcdefghijklmnopqrstuvwxyz0123456789.-") != "" || strings.Trim(host, ".-") != host {
		return "", false
	}
	if u.Port() == "" {
		return "wss://" + host, !strings.HasSuffix(u.Host, ":")
	}
	if n, err := strconv.ParseUint(u.Port(), 10, 16); err != nil || n == 0 {
		return "", false
	} else if n == 443 {
		return "wss://" + host, true
	}
	return "wss://" + host + ":" + u.Port(), true
}
