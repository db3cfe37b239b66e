package hal

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/warthog618/go-gpiocdev/uapi"
	"golang.org/x/sys/unix"

	"github.com/stack4things/s4t"
)

// Guarded may be met by the Line of an output: what the guard does for it when
// lightning-rod dies.
type Guarded interface {
	// Guarded says how another process makes v the output.
	Guarded(v float64) GuardOrder
}

// GuardOrder is one output: a text that is written to a file of sysfs, or a line of a GPIO chip
// that is taken and held.
type GuardOrder struct {
	Path string `json:"path"` // of the file, or of the chip
	Text string `json:"text"` // of a line 0 or 1

	GPIO   bool `json:"gpio,omitempty"`
	Offset int  `json:"offset,omitempty"`
}

// toldGuard is what a guard is told, a line of JSON each time.
type toldGuard struct {
	Orders []GuardOrder `json:"orders"`
	Meet   string       `json:"meet,omitempty"` // abstract socket: who connects takes the lines over
}

const (
	maxGuardLine = 1 << 20
	goodbye      = "goodbye"

	// linePatience is how long the guard tries to take a line that the kernel has not taken
	// from the dead process yet.
	linePatience = 5 * time.Second
)

// RunGuard is the process of the guard. On in it is told, each time anew, all that it has to
// do. It does that when in breaks, and nothing when it was told goodbye. It holds the lines of
// GPIO that it took, for who lets go of one may lose its level, until the next lightning-rod is
// there. Signals do not keep it from what it has to do, for who ends lightning-rod by one often
// sends it to both; but after SIGTERM it holds no line: a service manager waits for it then.
func RunGuard(in *os.File) error {
	signal.Ignore(unix.SIGINT, unix.SIGHUP, unix.SIGPIPE)
	term := make(chan os.Signal, 1)
	signal.Notify(term, unix.SIGTERM)
	return guard(in, gpioKernel{}, term)
}

func guard(in io.Reader, chips gpioSystem, term <-chan os.Signal) error {
	var told toldGuard
	var meeting net.Listener // from the start: the next lightning-rod may be there before the guard has acted
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxGuardLine)
	for lines.Scan() {
		if lines.Text() == goodbye {
			return nil
		}
		var next toldGuard
		if json.Unmarshal(lines.Bytes(), &next) == nil { // half of a line is what was written at death: the one before counts
			told = next
		}
		if meeting == nil && told.Meet != "" {
			if l, err := net.Listen("unix", told.Meet); err == nil { // else another guard is there: only one can hold a line
				meeting = l
				defer meeting.Close()
			}
		}
	}
	var failed error
	var held []gpioRequest
	for _, o := range told.Orders {
		var err error
		if o.GPIO {
			var line gpioRequest
			if line, err = takeLine(chips, o); err == nil {
				held = append(held, line)
			}
		} else {
			err = writeAttribute(o.Path, o.Text)
		}
		if err != nil && failed == nil {
			failed = s4t.Errorf(s4t.Internal, "let a pin fall back", "look at the device", "%s: %w", o.Path, err)
		}
	}
	if len(held) > 0 && meeting != nil {
		stop := make(chan struct{})
		defer close(stop)
		go func() {
			select {
			case <-term:
				meeting.Close()
			case <-stop:
			}
		}()
		if next := waitForNext(meeting); next != nil {
			defer next.Close() // tells it that the lines are free
		}
	}
	for _, line := range held {
		line.Close()
	}
	return failed
}

// takeLine takes a line of GPIO and drives it.
func takeLine(chips gpioSystem, o GuardOrder) (gpioRequest, error) {
	chip, err := chips.open(o.Path)
	if err != nil {
		return nil, err
	}
	defer chip.Close()
	ask := lineRequest(o.Offset)
	line, err := chip.request(&ask)
	for end := time.Now().Add(linePatience); errors.Is(err, unix.EBUSY) && time.Now().Before(end); line, err = chip.request(&ask) {
		time.Sleep(time.Millisecond) // nobody tells when a line is free
	}
	if err != nil {
		return nil, err
	}
	v := 0
	if o.Text == "1" {
		v = 1
	}
	config := uapi.LineConfig{Flags: uapi.LineFlagV2Output}
	config.AddAttribute(uapi.LineConfigAttribute{Attr: uapi.OutputValues(v).Encode(), Mask: 1})
	if err := line.config(&config); err != nil {
		line.Close()
		return nil, err
	}
	return line, nil
}

// meetingPlace is the abstract socket at which a guard waits for the next lightning-rod with
// the same state directory; "": there is none.
func meetingPlace(state string) string {
	if state == "" {
		return ""
	}
	if full, err := filepath.Abs(state); err == nil {
		state = full
	}
	return "@s4t-pin-guard-" + sumOf([]byte(state))[:32]
}

// waitForNext waits for a process of the same user, or of root, that connects;
// nil: l was closed.
func waitForNext(l net.Listener) net.Conn {
	for {
		conn, err := l.Accept()
		if err != nil {
			return nil
		}
		var peer *unix.Ucred
		if raw, err := conn.(*net.UnixConn).SyscallConn(); err == nil {
			raw.Control(func(fd uintptr) { peer, _ = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
		}
		if peer != nil && (peer.Uid == 0 || int(peer.Uid) == os.Geteuid()) {
			return conn
		}
		conn.Close()
	}
}

// relieve has a guard that holds lines let go of them.
func relieve(state string) {
	meet := meetingPlace(state)
	if meet == "" {
		return
	}
	conn, err := net.Dial("unix", meet)
	if err != nil {
		return // there is none
	}
	defer conn.Close()
	conn.SetReadDeadline(time.Now().Add(endPatience))
	conn.Read(make([]byte, 1)) // it ends when the guard has
}

// toGuard notes what the guard does for the pin. It is called on the device's goroutine,
// with the line open.
func (p *Pin) toGuard() {
	var order *GuardOrder
	v, falls := p.falls()
	if line, ok := p.line.(Guarded); ok && falls {
		p.mu.Lock()
		scale := p.settings.scale
		p.mu.Unlock()
		o := line.Guarded(v / scale)
		order = &o
	}
	p.hal.orders.Lock()
	changed := (order == nil) != (p.guard == nil) || order != nil && *order != *p.guard
	p.guard = order
	p.hal.orders.Unlock()
	if changed {
		select {
		case p.hal.guardNews <- struct{}{}:
		default:
		}
	}
}

// guardOrders is all that the guard has to do.
func (h *HAL) guardOrders() []GuardOrder {
	h.mu.Lock()
	list := h.list
	h.mu.Unlock()
	out := []GuardOrder{}
	h.orders.Lock()
	defer h.orders.Unlock()
	for _, p := range list {
		if p.guard != nil && p.guard.Path != "" && !strings.Contains(p.guard.Path, "\n") {
			out = append(out, *p.guard)
		}
	}
	return out
}

// watchOver runs a guard as long as there is a pin that needs one, until ctx ends. A guard that
// died is started again.
func (h *HAL) watchOver(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.guardNews:
		}
		for len(h.guardOrders()) > 0 && ctx.Err() == nil {
			err := h.guardOnce(ctx)
			if ctx.Err() != nil {
				return
			}
			h.log.Warn("the guard of the pins ended; it is started again", "error", err)
			select {
			case <-ctx.Done():
				return
			case <-time.After(reopenAfter):
			}
		}
	}
}

// guardOnce runs one guard, until ctx ends.
func (h *HAL) guardOnce(ctx context.Context) error {
	cmd := h.config.Guard()
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	died := make(chan error, 1)
	go func() { died <- cmd.Wait() }()
	var told []GuardOrder
	for {
		if list := h.guardOrders(); told == nil || !slices.Equal(list, told) {
			text, err := json.Marshal(toldGuard{list, meetingPlace(h.config.State)})
			if err == nil {
				_, err = in.Write(append(text, '\n'))
			}
			if err != nil {
				in.Close()
				<-died
				return err
			}
			told = list
			h.guarding.Store(len(list) > 0)
		}
		select {
		case err := <-died:
			in.Close()
			return err
		case <-h.guardNews:
		case <-h.fallen: // the outputs have fallen back
			io.WriteString(in, goodbye+"\n") // a guard that is dead already does not need it
			in.Close()
			return <-died
		}
	}
}
