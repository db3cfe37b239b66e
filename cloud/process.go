package cloud

import (
	"context"
	"log/slog"
	"os"
	"syscall"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/conductor"
	"github.com/stack4things/s4t/registration"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

const (
	// beatEvery is how often a process says that it is there.
	beatEvery = 30 * time.Second
	// silentAfter is how long it may be silent before it is shown so: two beats may
	// be lost.
	silentAfter = 75 * time.Second
	// beatTimeout bounds one beat, and goodbyeTimeout the last one, for which the
	// end of the process waits.
	beatTimeout    = 3 * time.Second
	goodbyeTimeout = time.Second
)

// beats tells the conductor that a process with the API or a conductor is there, so
// that `iotronic status` shows it.
type beats struct {
	queue Queue
	say   wire.ProcessBeat
	log   *slog.Logger

	at   time.Time     // of the beat that was heard last
	used time.Duration // of processors until then
}

// addBeats adds the beats of a process that has a name among others.
func (c *Cloud) addBeats(p *parts) {
	say := wire.ProcessBeat{Name: c.cfg.Name, Incarnation: s4t.NewID(), Version: c.cfg.Version}
	for _, r := range []Role{API, Conductor} {
		if c.has(r) {
			say.Roles = append(say.Roles, string(r))
		}
	}
	if !c.shared || say.Name == "" || len(say.Roles) == 0 {
		return
	}
	say.Host, _ = os.Hostname() // what it is for is said by the name, too
	if c.has(API) {
		say.URL = c.at.url
	}
	b := &beats{queue: c.cfg.Queue, say: say, log: c.cfg.Log}
	p.front = append(p.front, task{name: "beats", run: b.run})
}

// run beats until ctx ends, and says goodbye then. A beat that nobody hears is
// tried again: conductors come later, or are away. A conductor of a version that
// knows no beats is left alone until the next.
func (b *beats) run(ctx context.Context) error {
	var backoff registration.Backoff
	for {
		err := b.beat(ctx, beatTimeout)
		if ctx.Err() != nil {
			break
		}
		wait := beatEvery
		switch s4t.KindOf(err) {
		case "":
			backoff = registration.Backoff{}
		case s4t.NotFound:
			b.log.Debug("the conductor knows no processes", "err", err)
		default:
			wait = backoff.Next()
			b.log.Debug("cannot tell the conductor that this process is there", "err", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
	b.say.Ends = true
	if err := b.beat(context.WithoutCancel(ctx), goodbyeTimeout); err != nil {
		b.log.Debug("cannot tell the conductor that this process ends", "err", err)
	}
	return nil
}

func (b *beats) beat(ctx context.Context, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	now, used := time.Now(), processorTime()
	if !b.at.IsZero() {
		b.say.Load = int64(1000 * (used - b.used) / max(now.Sub(b.at), time.Millisecond))
	}
	err := b.queue.Call(ctx, wire.TopicAgents, wire.MethodProcessBeat, b.say, nil)
	if err == nil {
		b.at, b.used = now, used
	}
	return err
}

// processorTime is what this process took of processors until now.
func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// beating is what is known of those that beat.
func beating(tx *store.Tx) ([]ProcessStatus, error) {
	processes, err := tx.Processes()
	if err != nil || len(processes) == 0 {
		return nil, err
	}
	leader, err := conductor.Leader(tx)
	now := tx.Now()
	list := make([]ProcessStatus, len(processes))
	for i, p := range processes {
		load := float64(p.Load) / 1000
		s := ProcessStatus{Name: p.Role + "-" + p.Name, Role: Role(p.Role), URL: p.URL, SeenAt: p.SeenAt, Status: s4t.AgentOffline, Version: p.Version, Since: p.Since, Host: p.Host, Load: &load}
		if s.Online = now.Sub(p.SeenAt) < silentAfter; s.Online {
			s.Status, s.Upkeep = s4t.AgentOnline, s.Role == Conductor && p.Name == leader
		}
		list[i] = s
	}
	return list, err
}
