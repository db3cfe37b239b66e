package cloud

import (
	"context"
	"log/slog"
	"os"
	"slices"
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
	// beatTimeout bounds one beat, and goodbyeTimeout the last one, for which the
	// end of the process waits.
	beatTimeout    = 3 * time.Second
	goodbyeTimeout = time.Second
)

// beats tells the conductor that a process is there and until when its certificate is
// good, so that `iotronic status` and the dashboard show it. An agent of the process has
// beats of its own, by its id.
type beats struct {
	queue Queue
	say   wire.ProcessBeat
	until func() time.Time // when the certificate ends that is shown now; zero: there is none
	log   *slog.Logger

	at   time.Time     // of the beat that was heard last
	used time.Duration // of processors until then
}

// addBeats adds the beats of a process among others: of its API and conductor, where
// it has a name, and of its agents.
func (c *Cloud) addBeats(p *parts) {
	if !c.shared {
		return
	}
	incarnation := s4t.NewID()
	host, _ := os.Hostname() // what it is for is said by the name, too
	add := func(name, url string, roles ...Role) {
		say := wire.ProcessBeat{Name: name, Incarnation: incarnation, Host: host, Version: c.cfg.Version}
		for _, r := range roles {
			if c.has(r) {
				say.Roles = append(say.Roles, string(r))
			}
		}
		if name == "" || len(say.Roles) == 0 {
			return
		}
		if !slices.Equal(say.Roles, []string{string(Conductor)}) {
			say.URL = url
		}
		b := &beats{queue: c.cfg.Queue, say: say, until: c.at.certs.until, log: c.cfg.Log}
		p.front = append(p.front, task{name: "beats", run: b.run})
	}
	add(c.cfg.Name, c.at.url, API, Conductor)
	add(string(c.cfg.WAMPAgent), c.at.agentURL, WAMPAgent)
	add(string(c.cfg.TunnelAgent), c.at.agentURL, TunnelAgent)
}

// run beats until ctx ends, and says goodbye then. A beat that nobody hears is
// tried again: conductors come later, or are away. A conductor of a version that
// knows no beats, or none of agents, is left alone until the next.
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
		case s4t.NotFound, s4t.Invalid:
			b.log.Debug("the conductor knows no such processes", "err", err)
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
	b.say.CertificateUntil = b.until()
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

// beating is what is known of conductors and APIs that beat, and, by agent, until when
// those certificates are good that agents show which are there.
func beating(tx *store.Tx) (list []ProcessStatus, ends map[s4t.AgentID]time.Time, err error) {
	processes, err := tx.Processes()
	if err != nil || len(processes) == 0 {
		return nil, nil, err
	}
	leader, err := conductor.Leader(tx)
	now := tx.Now()
	ends = map[s4t.AgentID]time.Time{}
	for _, p := range processes {
		online := now.Sub(p.SeenAt) < wire.ProcessSilent
		if r := Role(p.Role); r == WAMPAgent || r == TunnelAgent {
			if online {
				ends[s4t.AgentID(p.Name)] = p.CertificateUntil
			}
			continue
		}
		load := float64(p.Load) / 1000
		s := ProcessStatus{Name: p.Role + "-" + p.Name, Role: Role(p.Role), URL: p.URL, SeenAt: p.SeenAt, Status: s4t.AgentOffline, Version: p.Version, Since: p.Since, Host: p.Host, Load: &load}
		if s.Online = online; online {
			s.Status, s.Upkeep, s.CertificateUntil = s4t.AgentOnline, s.Role == Conductor && p.Name == leader, p.CertificateUntil
		}
		list = append(list, s)
	}
	return list, ends, err
}
