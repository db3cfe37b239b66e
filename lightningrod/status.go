package lightningrod

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// Status is what `lightning-rod status -o json` prints.
type Status struct {
	Board             string            `json:"board"` // its name
	ID                s4t.BoardID       `json:"id"`
	URL               string            `json:"url"` // of the cloud
	Running           bool              `json:"running"`
	Connected         bool              `json:"connected"`
	Epoch             int64             `json:"epoch"`              // of the session; 0 while not connected
	Generation        int64             `json:"generation"`         // of the desired state, as far as the board knows
	AppliedGeneration int64             `json:"applied_generation"` //
	Ports             []PortStatus      `json:"ports"`
	Services          []ServiceStatus   `json:"services"`
	IO                *IOStatus         `json:"io,omitempty"` // nil: no lightning-rod runs
	Plugins           []PluginStatus    `json:"plugins"`
	Runtimes          map[string]string `json:"runtimes,omitempty"` // of plugins: version, or "no: " and why not; nil: no lightning-rod runs
	Commands          []string          `json:"commands,omitempty"` // names of those that it has; nil: no lightning-rod runs
	Runs              *RunsStatus       `json:"runs,omitempty"`
	Profile           *s4t.BoardProfile `json:"profile,omitempty"` // nil: no lightning-rod runs
	Problems          []string          `json:"problems"`
	ReadOnly          bool              `json:"state_read_only,omitempty"` // the state directory cannot be written: what is there is used
	Trouble           string            `json:"trouble,omitempty"`         // the one of the problems that is why there is no session
	Cause             string            `json:"cause,omitempty"`           // of the trouble: the ID of a [wire.Diagnosis]; empty: not known
}

// PortStatus is the board's half of one port.
type PortStatus struct {
	ID        s4t.PortID `json:"id"`
	Interface string     `json:"interface"`
	MAC       string     `json:"mac,omitempty"`
	Addresses []string   `json:"addresses"`
	MTU       int        `json:"mtu"`
	Up        bool       `json:"up"`
	Problem   string     `json:"problem,omitempty"`
	ProblemID string     `json:"problem_id,omitempty"` // of a [wire.Diagnosis]
}

// ServiceStatus is a service that streams may reach.
type ServiceStatus struct {
	ID        s4t.ServiceID `json:"id"`
	Target    string        `json:"target"`
	TCPPort   int           `json:"port"`
	Problem   string        `json:"problem,omitempty"`    // why streams do not reach it
	ProblemID string        `json:"problem_id,omitempty"` // of a [wire.Diagnosis]
}

// IOStatus is how the board's pins are.
type IOStatus struct {
	Dir     string `json:"dir"`  // where the tree is mounted; "": it is not
	Pins    int    `json:"pins"` // that were found
	Problem string `json:"problem,omitempty"`
}

// RunsStatus counts runs of commands.
type RunsStatus struct {
	Running int `json:"running"` // that have not ended
	Unheard int `json:"unheard"` // that have ended, and the cloud has not confirmed it
}

// statusOf builds what identity and desired state tell, with the states of the
// resources where a lightning-rod runs.
func statusOf(id Identity, d wire.BoardDesired, states []wire.ResourceState) Status {
	s := Status{
		Board: id.Name, ID: id.Board, URL: id.URLs[0], Generation: d.Generation,
		Ports: []PortStatus{}, Services: []ServiceStatus{}, Plugins: []PluginStatus{}, Problems: []string{},
	}
	if d.Name != "" {
		s.Board = d.Name
	}
	for _, r := range d.Resources {
		st := stateOf(r.Key(), states)
		switch r.Kind {
		case wire.KindPort:
			var p wire.DesiredPort
			json.Unmarshal(r.Spec, &p) // what is not understood is told by the state
			s.Ports = append(s.Ports, PortStatus{
				ID: s4t.PortID(r.ID), Interface: p.Interface, MAC: p.MAC, Addresses: p.Addresses, MTU: p.MTU,
				Up: st.Up, Problem: st.Problem, ProblemID: st.ProblemID,
			})
		case wire.KindPlugin: // while lightning-rod runs the manager knows more
			var p wire.DesiredPlugin
			json.Unmarshal(r.Spec, &p)
			s.Plugins = append(s.Plugins, pluginStatus(r.ID, p, st.ProblemID, s4t.PluginState{Problem: st.Problem}))
		case wire.KindService:
			var v wire.DesiredService
			json.Unmarshal(r.Spec, &v)
			s.Services = append(s.Services, ServiceStatus{ID: s4t.ServiceID(r.ID), Target: v.Target, TCPPort: v.TCPPort, Problem: st.Problem, ProblemID: st.ProblemID})
		}
	}
	return s
}

// stateOf finds the state of a resource, zero if there is none.
func stateOf(key wire.ResourceKey, states []wire.ResourceState) (found wire.ResourceState) {
	for _, st := range states {
		if st.ID == key.ID && st.Kind == key.Kind {
			return st
		}
	}
	return found
}

// ReadStatus asks the lightning-rod that runs on a state directory; where none
// runs it says so, with what the files tell.
func ReadStatus(ctx context.Context, state string) (Status, error) {
	dir := stateDir(state)
	id, err := dir.identity()
	if err != nil {
		return Status{}, err
	}
	var s Status
	if err := dir.ask(ctx, askStatus, &s); err == nil {
		return s, nil
	}
	d, _, _ := dir.desired(id.Board)
	s = statusOf(id, d, nil)
	s.ReadOnly = dir.isReadOnly()
	s.Problems = append(s.Problems, "lightning-rod is not running; start it with `lightning-rod run`")
	return s, nil
}

// The questions on the socket, one line each; the answer is one JSON object.
const (
	askStatus  = "status"
	askLeave   = "leave"
	askProfile = "profile" // the owner's file is read anew, and followed: s4t.BoardProfile
)

// leaveAnswer answers askLeave; the process ends after it.
type leaveAnswer struct {
	Told   bool   `json:"told"`             // the cloud has un-enrolled the board
	Reason string `json:"reason,omitempty"` // why it was not told
}

// maxQuestion bounds a question, in bytes; nothing longer than a buffer of bufio is
// read for it.
const maxQuestion = 64

// askTimeout bounds a question, on both sides. It holds a call to the cloud.
const askTimeout = 8 * time.Second

// ask puts a question to the running lightning-rod.
func (d stateDir) ask(ctx context.Context, question string, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	conn, err := d.reach(ctx)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer func() { stop(); conn.Close() }()
	if _, err := io.WriteString(conn, question+"\n"); err != nil {
		return err
	}
	return json.NewDecoder(io.LimitReader(conn, maxStateFile)).Decode(answer)
}

// socket answers questions on run.sock until it is closed.
type socket struct {
	listener net.Listener
	release  func()
	slots    chan struct{} // bounds the questions answered at once
	serving  sync.WaitGroup
	log      *slog.Logger
}

// serve answers until ctx ends; every question under way has ended then too.
// A mount has the connection for as long as it likes, and none of the slots.
func (s *socket) serve(ctx context.Context, answer func(ctx context.Context, question string) any, mount func(ctx context.Context, conn net.Conn, in *bufio.Reader)) {
	stop := context.AfterFunc(ctx, func() { s.listener.Close() })
	defer func() { stop(); s.listener.Close(); s.serving.Wait(); s.release() }()
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			if ctx.Err() == nil {
				s.log.Warn("the status socket is closed; `lightning-rod status` will read the files only", "err", err)
			}
			return
		}
		select {
		case s.slots <- struct{}{}:
		case <-ctx.Done():
			conn.Close()
			return
		}
		s.serving.Go(func() {
			defer conn.Close()
			in, mounts := s.question(ctx, conn, answer)
			<-s.slots
			if mounts && mount != nil {
				conn.SetDeadline(time.Time{})
				mount(ctx, conn, in)
			}
		})
	}
}

// question answers one question, but for that of a mount, whose frames in has.
func (s *socket) question(ctx context.Context, conn net.Conn, answer func(ctx context.Context, question string) any) (in *bufio.Reader, mounts bool) {
	conn.SetDeadline(time.Now().Add(askTimeout))
	unhook := context.AfterFunc(ctx, func() { conn.SetReadDeadline(time.Now()) })
	defer unhook()
	in = bufio.NewReader(conn)
	line, err := in.ReadSlice('\n')
	if err != nil || len(line) > maxQuestion {
		return nil, false
	}
	question := string(line[:len(line)-1])
	if question == askMount {
		return in, true
	}
	if a := answer(ctx, question); a != nil {
		conn.Write(wire.Encode(a)) // who went away does not want the answer
	}
	return nil, false
}
