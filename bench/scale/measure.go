package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"
)

// result of one build with one size of fleet. Times are in seconds, -1: never.
type result struct {
	Build     string
	Boards    int
	Agents    int     // processes of WAMP agents; 0: one process is everything
	Online    float64 // from the first dial until all are online
	Half      float64 // half of them
	Tries     float64 // dials a board, until then
	Sessions  float64 // sessions a board, until then
	Lost      int     // sessions that ended, until then
	Vain      int     // dials that were let in, and came to nothing, until then
	Peak      float64 // boards that came online a second, in the best 5 s
	Goodput   float64 // the same between 5 and 95 % of the boards, as a part of the peak
	UserP50   float64 // a user's requests until then, ms
	UserP99   float64
	Failed    int     // of these, and of those while one agent of several was lost
	Connect   float64 // CPU of the cloud a board until then, ms
	FleetCPU  float64 // the boards' own, ms
	MemoryKiB float64 // resident, a board, at rest, beyond an empty cloud's
	FleetKiB  float64 // resident, a board, of the boards' processes
	RestCPU   float64 // CPU of the cloud a board at rest, microseconds a second
	FleetRest float64 // the boards' own
	Commits   float64 // transactions that wrote at rest, a board and hour; 0: none, or the build does not tell
	Rows      float64 // their rows
	Elsewhere float64 // from the kill of one of the agents until all boards are online at the others; 0: not tried
	Ready     float64 // from the start of all after their kill until all say ready; 0: not tried
	Back      float64 // from then until all are online again
	BackTries float64 // dials a board for it
	Error     string  `json:",omitempty"`
}

func (r result) String() string { b, _ := json.Marshal(r); return string(b) }

// broken says what of the contract of a storm did not hold; nil: all of it did.
// Whatever comes, all come online in the end, sessions that began go on, and users
// are answered.
func (r result) broken() error {
	var broken []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			broken = append(broken, fmt.Errorf("%d boards: "+format, append([]any{r.Boards}, args...)...))
		}
	}
	check(r.Online >= 0, "they do not all come online")
	check(r.Lost == 0, "%d sessions ended while others began", r.Lost)
	check(r.Tries <= 10, "each dials %.1f times", r.Tries)
	check(r.Failed == 0, "%d requests of a user failed", r.Failed)
	check(r.Elsewhere >= 0, "those of an agent that was killed do not all come to the others")
	check(r.Ready >= 0, "a cloud that was killed does not start")
	check(r.Back >= 0, "they do not all come back to a cloud that was killed")
	return errors.Join(broken...)
}

// measure has a fleet come to a cloud, rest, lose an agent, lose it all and come
// back.
func measure(ctx context.Context, o options, b build, dir string, n int) (r result) {
	r = result{Build: b.name, Boards: n, Agents: o.agents, Online: -1, Half: -1}
	fail := func(err error) result { r.Error = fmt.Sprintf("%s, %d boards: %v", b.name, n, err); return r }
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fail(err)
	}
	defer os.RemoveAll(dir)
	c, err := newCluster(ctx, o, b.iotronic, dir)
	if err != nil {
		return fail(err)
	}
	defer c.kill()
	if err := c.main.start(ctx, o.limit); err != nil { // it makes the tables
		return fail(err)
	}
	c.kill()
	if err := enrol(c.driver, c.source, max(n, o.known)); err != nil {
		return fail(err)
	}
	if _, err := c.start(ctx, o.limit); err != nil {
		return fail(err)
	}
	time.Sleep(2 * time.Second)
	empty := c.rss()
	f, err := startFleet(ctx, b, c, dir, n, o.rate)
	if f != nil {
		defer f.stop()
	}
	if err != nil {
		return fail(err)
	}
	say := func(format string, args ...any) {
		fmt.Fprintf(os.Stderr, "%s %d: "+format+"\n", append([]any{b.name, n}, args...)...)
	}

	cpu, own := c.cpu(), f.cpu()
	began := time.Now()
	var failed []error
	r.UserP50, r.UserP99, failed, err = c.during(n, func() {
		f.release()
		r.Online = f.wait(ctx, began, o.limit, n)
	})
	if err != nil {
		return fail(err)
	}
	tell := func(failed []error) {
		r.Failed += len(failed)
		for _, err := range failed[:min(3, len(failed))] {
			say("a user: %v", err)
		}
	}
	tell(failed)
	now := f.now()
	r.Half, r.Lost = since(f.samples(began), n/2), now.lost
	r.Tries, r.Sessions = float64(now.tries)/float64(n), float64(now.sessions)/float64(n)
	r.Vain = now.vain + now.sessions - now.online - now.lost
	r.Peak, r.Goodput = rates(f.samples(began), n)
	r.Connect, r.FleetCPU = 1000*(c.cpu()-cpu)/float64(n), 1000*(f.cpu()-own)/float64(n)
	say("online after %.1f s, %.2f tries, %d begun in vain, %.2f ms CPU (boards %.2f), goodput %.2f of %.0f/s, a user p50 %.0f ms, p99 %.0f ms, %d failed",
		r.Online, r.Tries, r.Vain, r.Connect, r.FleetCPU, r.Goodput, r.Peak, r.UserP50, r.UserP99, r.Failed)
	if r.Online < 0 && (o.quick || o.contract) {
		return r
	}
	if r.Online >= 0 {
		time.Sleep(o.rest / 2)
		cpu, own, began = c.cpu(), f.cpu(), time.Now()
		commits, rows := c.written()
		time.Sleep(o.rest)
		each := 1e6 / time.Since(began).Seconds() / float64(n)
		r.RestCPU, r.FleetRest = (c.cpu()-cpu)*each, (f.cpu()-own)*each
		r.MemoryKiB, r.FleetKiB = 1024*(c.rss()-empty)/float64(n), 1024*f.rss()/float64(n)
		nowCommits, nowRows := c.written()
		r.Commits, r.Rows = (nowCommits-commits)*each*3600/1e6, (nowRows-rows)*each*3600/1e6
		say("at rest %.1f µs/s (boards %.1f), %.1f KiB a board (boards %.1f), %.2f transactions of %.2f rows written a board and hour", r.RestCPU, r.FleetRest, r.MemoryKiB, r.FleetKiB, r.Commits, r.Rows)
	}
	if o.quick {
		return r
	}
	if len(c.agents) > 1 {
		_, p99, failed, err := c.during(n, func() {
			c.agents[0].kill()
			r.Elsewhere = f.settle(ctx, time.Now(), o.limit, n)
		})
		if err != nil {
			return fail(err)
		}
		tell(failed)
		say("an agent killed: all elsewhere after %.1f s, a user's p99 %.0f ms, %d failed", r.Elsewhere, p99, len(failed))
	}
	// The last killed cloud's boards come back to it. One whose boards never
	// were online is killed all the same.
	r.Back = -1
	before := f.now()
	c.kill()
	if r.Ready, err = c.start(ctx, o.limit); err != nil {
		say("after kill -9: %v", err)
		r.Ready = -1 // it never is
		return r
	}
	r.Back = f.settle(ctx, time.Now(), o.limit, n)
	r.BackTries = float64(f.now().tries-before.tries) / float64(n)
	say("all killed: ready after %.1f s, all back %.1f s later, %.2f tries", r.Ready, r.Back, r.BackTries)
	return r
}

// settle waits until all are online after some have lost their sessions: which they
// notice within noticed.
func (f *fleet) settle(ctx context.Context, began time.Time, limit time.Duration, n int) float64 {
	for f.now().online == n && time.Since(began) < noticed {
		time.Sleep(20 * time.Millisecond)
	}
	return f.wait(ctx, began, limit, n)
}

// noticed is within which time a board on this machine has noticed that a process
// was killed: its connection is reset.
const noticed = 10 * time.Second
