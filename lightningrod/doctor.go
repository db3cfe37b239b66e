package lightningrod

import (
	"context"
	"net"
	"strconv"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/doctor"
	"github.com/stack4things/s4t/wire"
)

// DoctorConfig says what to examine.
type DoctorConfig struct {
	State  string // optional: default DefaultState
	Target string // optional: a join string or a URL of a cloud; default: the cloud of the identity
	Proxy  string // optional: HTTP proxy URL; default is the environment's, then the identity's

	ExtraCA []byte // optional: PEM, trusted in addition, as JoinConfig.ExtraCA is
}

// Doctor says what stands between this board and the cloud: one or more
// findings a check, in the order in which a connection would fail. It changes
// nothing and uses up no code.
func Doctor(ctx context.Context, cfg DoctorConfig) ([]wire.Finding, error) {
	if cfg.State == "" {
		cfg.State = DefaultState
	}
	board := stateDir(cfg.State).patient(ctx)
	return doctor.Examine(ctx, doctor.Config{Board: board, Target: cfg.Target, Proxy: cfg.Proxy, ExtraCA: cfg.ExtraCA})
}

// patient is the board of a state directory, as the doctor needs to know it.
func (d stateDir) patient(ctx context.Context) doctor.Board {
	board := doctor.Board{State: string(d)}
	id, err := d.identity()
	if err != nil {
		board.Unreadable = err
		return board
	}
	desired, _, damage := d.desired(id.Board)
	board.Damage = damage
	cloud := id.URLs[0]
	if len(desired.URLs) > 0 {
		cloud = desired.URLs[0]
	}
	var s Status
	if d.ask(ctx, askStatus, &s) == nil {
		board.Running = s.running()
		if s.Connected {
			cloud = s.URL
		}
	}
	announced, _ := d.announcedTrust()
	board.Identity = id.patient(cloud, announced)
	return board
}

// patient is an identity as the doctor needs to know it. cloud is the URL that
// the board uses, or would try first.
func (i Identity) patient(cloud string, announced wire.Trust) *doctor.Identity {
	ca, system := i.roots(announced)
	return &doctor.Identity{
		Board: i.Board, Name: i.Name, Key: i.PrivateKey(), URLs: i.URLs, Cloud: cloud, Proxy: i.Proxy,
		CA: ca, SystemRoots: system, ExtraCA: []byte(i.ExtraCA), Fingerprint: i.Fingerprint,
	}
}

// running is a status as the doctor needs to know it.
func (s Status) running() *doctor.Running {
	r := &doctor.Running{Connected: s.Connected, URL: s.URL, Problems: s.Problems, Trouble: s.Trouble, Cause: s.Cause}
	for _, p := range s.Ports {
		r.Ports = append(r.Ports, doctor.Port{Interface: p.Interface, Addresses: p.Addresses, Problem: p.Problem, ProblemID: p.ProblemID})
	}
	for _, v := range s.Services {
		if v.Problem != "" {
			r.Services = append(r.Services, doctor.Service{Target: net.JoinHostPort(v.Target, strconv.Itoa(v.TCPPort)), Problem: v.Problem, ProblemID: v.ProblemID})
		}
	}
	for _, p := range s.Plugins {
		if p.Problem != "" {
			r.Plugins = append(r.Plugins, doctor.Plugin{Name: p.Name, Problem: p.Problem, ProblemID: p.ProblemID})
		}
	}
	return r
}

// doctor answers the cloud's question what stands in the way, worst first.
func (e *Engine) doctor(ctx context.Context) wire.DoctorReport {
	s := e.Status()
	e.mu.Lock()
	announced := e.trust
	e.mu.Unlock()
	cfg := doctor.Config{
		Board:  doctor.Board{State: string(e.dir), Identity: e.id.patient(s.URL, announced), Running: s.running(), Capabilities: &e.caps},
		NoPath: true,
	}
	if e.clock.known() {
		cfg.CloudTime = e.clock.now()
	}
	findings, _ := doctor.Examine(ctx, cfg) // fails for a bad target only
	report := wire.DoctorReport{Board: e.name(), Status: s4t.BoardOnline}
	for _, level := range []string{wire.LevelError, wire.LevelWarning, wire.LevelOK} {
		for _, f := range findings {
			if f.Level == level {
				report.Findings = append(report.Findings, f)
			}
		}
	}
	return report
}
