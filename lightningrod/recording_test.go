package lightningrod

import (
	"context"
	"encoding/json"
	"os/user"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/terminal"
	"github.com/stack4things/s4t/wamp"
	"github.com/stack4things/s4t/wire"
)

// recordingCloud takes recordings.
type recordingCloud struct {
	*fakeCloud
	rmu   sync.Mutex
	fails []error // of the next parts
	text  string
	ended bool
}

func (c *recordingCloud) Call(ctx context.Context, procedure string, arg, reply any) error {
	if procedure != wamp.Recording {
		return c.fakeCloud.Call(ctx, procedure, arg, reply)
	}
	c.rmu.Lock()
	defer c.rmu.Unlock()
	if len(c.fails) > 0 {
		err := c.fails[0]
		c.fails = c.fails[1:]
		return err
	}
	part := arg.(wire.RecordingPart)
	if part.Board != boardA || part.Epoch != 7 || part.ID != "recording" || part.Offset != int64(len(c.text)) {
		return s4t.Errorf(s4t.Invalid, "record", "", "a part %+v", part)
	}
	c.text, c.ended = c.text+part.Data, part.Ended
	return nil
}

// TestAShellIsRecordedWhereItsTicketSaysSo: also where the cloud is away meanwhile. One whose
// recording the cloud refuses ends.
func TestAShellIsRecordedWhereItsTicketSaysSo(t *testing.T) {
	me, err := user.Current()
	if err != nil {
		t.Skip(err)
	}
	host, err := terminal.NewHost(me.Username, nil)
	if err != nil {
		t.Skip(err)
	}
	for name, test := range map[string]struct {
		fails []error
		says  string // of the shell, in its last frame
	}{
		"at once":                   {nil, ""},
		"when the cloud takes it":   {[]error{s4t.Errorf(s4t.Unavailable, "record", "", "away")}, ""},
		"and ends where it may not": {[]error{s4t.Errorf(s4t.NotFound, "record", "", "it was deleted")}, "it was deleted"},
	} {
		t.Run(name, func(t *testing.T) {
			c := &recordingCloud{fakeCloud: &fakeCloud{done: make(chan struct{})}, fails: test.fails}
			there := make(chan struct{})
			var once sync.Once
			p := testPolicy()
			p.shells = host
			p.recordings = &recordings{board: boardA, online: func() (cloud, int64, <-chan struct{}) {
				select {
				case <-there:
					return c, 7, make(chan struct{})
				default: // the session begins now
					once.Do(func() { close(there) })
					return nil, 0, there
				}
			}}
			p.recordings.begin(t.Context())
			ticket := wire.Ticket{ID: s4t.NewID(), Purpose: wire.PurposeStream, Board: boardA, Target: wire.TargetTerminal, User: "maria", Resumable: "name", Recording: "recording", Expires: cloudNow.Unix() + 60}
			shell, err := p.openShell(ticket)
			if err != nil {
				t.Fatal(err)
			}
			stop := time.AfterFunc(time.Minute, func() { shell.Close() })
			defer stop.Stop()
			send := func(f terminal.Frame) {
				if _, err := shell.Write(f.Append(nil)); err != nil {
					t.Fatal(err)
				}
			}
			send(terminal.Frame{Kind: terminal.Open, Columns: 80, Rows: 24, Term: "xterm"})
			if test.says == "" {
				send(terminal.Frame{Kind: terminal.Data, Data: []byte("echo recor'ded'; exit\n")})
			}
			var d terminal.Decoder
			var last terminal.Frame
			for buf := make([]byte, 4<<10); ; {
				n, err := shell.Read(buf)
				d.Take(buf[:n], func(f terminal.Frame) error { last = f; return nil })
				if err != nil {
					break
				}
			}
			shell.Close()
			host.Wait()
			if test.says != "" {
				if last.Kind != terminal.Problem || !strings.Contains(last.Problem, test.says) {
					t.Errorf("it ended with %+v", last)
				}
				return
			}
			head, _, _ := strings.Cut(c.text, "\n")
			if !json.Valid([]byte(head)) || !strings.Contains(c.text, "recorded") || !c.ended || last.Kind != terminal.Exit {
				t.Errorf("recorded is %q, ended %v, after %+v", c.text, c.ended, last)
			}
		})
	}
}
