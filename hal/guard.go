package hal

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stack4things/s4t"
)

// Guarded may be met by the Line of an output: what the guard does for it when
// lightning-rod dies.
type Guarded interface {
	// Guarded says how another process makes v the output.
	Guarded(v float64) GuardOrder
}

// GuardOrder is one write: a text to a file of sysfs.
type GuardOrder struct {
	Path string `json:"path"`
	Text string `json:"text"`
}

// Bounds of what a guard is told.
const (
	maxGuardLine = 1 << 20
	goodbye      = "goodbye"
)

// RunGuard is the process of the guard. On in it is told, a line of JSON each time, all
// that it has to do (a list of GuardOrder); it does that when in breaks, and nothing
// when it was told goodbye. Signals do not end it: who ends lightning-rod by one often
// sends it to both.
func RunGuard(in *os.File) error {
	signal.Ignore(unix.SIGTERM, unix.SIGINT, unix.SIGHUP)
	return guard(in)
}

func guard(in io.Reader) error {
	var orders []GuardOrder
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxGuardLine)
	for lines.Scan() {
		if lines.Text() == goodbye {
			return nil
		}
		var list []GuardOrder
		if json.Unmarshal(lines.Bytes(), &list) == nil { // half of a line is what was written at death: the one before counts
			orders = list
		}
	}
	var failed error
	for _, o := range orders {
		f, err := os.OpenFile(o.Path, os.O_WRONLY, 0)
		if err == nil {
			_, err = f.WriteString(o.Text)
			f.Close()
		}
		if err != nil && failed == nil {
			failed = s4t.Errorf(s4t.Internal, "let a pin fall back", "look at the device", "%w", err)
		}
	}
	return failed
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
			text, err := json.Marshal(list)
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
