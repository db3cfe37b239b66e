package hal

import (
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/warthog618/go-gpiocdev/uapi"
)

// twinChip is a GPIO chip that does what Linux 6.1 with gpio-sim was seen to do.
type twinChip struct {
	mu    sync.Mutex
	gone  bool
	lines []twinLine
}

type twinLine struct {
	name, consumer string
	used           bool
	flags          uapi.LineFlagV2
	debounce       time.Duration
	pull, level    int
	seq            uint32
	edges          []uapi.LineEvent // that nobody has read
	size           int              // of edges
	told           chan struct{}    // cap 1
}

func newTwinChip(n int) *twinChip {
	c := &twinChip{lines: make([]twinLine, n)}
	for i := range c.lines {
		c.lines[i].flags, c.lines[i].told = uapi.LineFlagV2Input, make(chan struct{}, 1)
	}
	return c
}

// locked runs f, unless the chip was pulled.
func (c *twinChip) locked(f func() error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone {
		return syscall.ENODEV
	}
	return f()
}

// pull is what the world does to a line.
func (c *twinChip) pull(offset, v int) {
	_ = c.locked(func() error {
		l := &c.lines[offset]
		l.pull = v
		if !l.flags.IsOutput() {
			l.become(v)
		}
		return nil
	})
}

// become makes v the level. Caller holds mu.
func (l *twinLine) become(v int) {
	if v == l.level {
		return
	}
	l.level = v
	id, flag := uapi.LineEventFallingEdge, uapi.LineFlagV2EdgeFalling
	if v == 1 {
		id, flag = uapi.LineEventRisingEdge, uapi.LineFlagV2EdgeRising
	}
	if l.flags&flag == 0 {
		return
	}
	l.seq++
	l.edges = append(l.edges, uapi.LineEvent{Timestamp: uint64(monotonic() + int64(l.debounce)), ID: id, Seqno: l.seq, LineSeqno: l.seq})
	l.edges = l.edges[max(0, len(l.edges)-l.size):]
	l.tell()
}

// tell wakes who waits for edges.
func (l *twinLine) tell() {
	select {
	case l.told <- struct{}{}:
	default:
	}
}

func (c *twinChip) open(path string) (gpioChip, error) {
	if _, err := os.Stat(path); err != nil {
		return nil, syscall.ENOENT
	}
	return c, nil
}

func (c *twinChip) info() (uapi.ChipInfo, error) {
	return uapi.ChipInfo{Lines: uint32(len(c.lines))}, c.locked(func() error { return nil })
}

func (c *twinChip) line(offset int) (li uapi.LineInfoV2, err error) {
	err = c.locked(func() error {
		l := &c.lines[offset]
		li.Flags = l.flags
		if l.used {
			li.Flags |= uapi.LineFlagV2Used
		}
		if l.debounce > 0 {
			li.NumAttrs, li.Attrs[0] = 1, uapi.DebouncePeriod(l.debounce).Encode()
		}
		copy(li.Name[:], l.name)
		copy(li.Consumer[:], l.consumer)
		return nil
	})
	return li, err
}

func (c *twinChip) request(r *uapi.LineRequest) (gpioRequest, error) {
	l := &c.lines[r.Offsets[0]]
	err := c.locked(func() error {
		if l.used {
			return syscall.EBUSY
		}
		if r.Lines != 1 || r.Config != (uapi.LineConfig{}) {
			return fmt.Errorf("it asks for more than the line as it is: %+v", r.Config)
		}
		l.used, l.consumer, l.size = true, uapi.BytesToString(r.Consumer[:]), int(r.EventBufferSize)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &twinRequest{twinChip: c, l: l, closed: make(chan struct{})}, nil
}

func (c *twinChip) Close() error { return nil }

// twinRequest is a line of it that is ours.
type twinRequest struct {
	*twinChip
	l      *twinLine
	closed chan struct{}
}

func (r *twinRequest) value() (v int, err error) {
	err = r.locked(func() error { v = r.l.level; return nil })
	return v, err
}

func (r *twinRequest) setValue(v int) error {
	return r.locked(func() error {
		if !r.l.flags.IsOutput() {
			return syscall.EPERM
		}
		r.l.level = v
		return nil
	})
}

func (r *twinRequest) config(c *uapi.LineConfig) error {
	return r.locked(func() error {
		if c.Flags&uapi.LineFlagV2DirectionMask == 0 || c.Flags.IsOutput() && c.Flags&uapi.LineFlagV2EdgeMask != 0 {
			return syscall.EINVAL
		}
		r.l.flags, r.l.debounce = c.Flags, 0
		for _, a := range c.Attrs[:c.NumAttrs] {
			switch a.Attr.ID {
			case uapi.LineAttributeIDDebounce:
				r.l.debounce = time.Duration(a.Attr.Value32()) * time.Microsecond
			case uapi.LineAttributeIDOutputValues:
				r.l.level = int(a.Attr.Value64() & 1)
			}
		}
		if c.Flags.IsInput() {
			switch {
			case c.Flags.IsBiasPullUp():
				r.l.pull = 1
			case c.Flags.IsBiasPullDown():
				r.l.pull = 0
			}
			r.l.level = r.l.pull
		}
		return nil
	})
}

func (r *twinRequest) next(list []uapi.LineEvent) (n int, err error) {
	for n == 0 {
		select {
		case <-r.closed:
			return 0, os.ErrClosed
		case <-r.l.told:
		}
		err = r.locked(func() error {
			n = copy(list, r.l.edges)
			if r.l.edges = r.l.edges[n:]; len(r.l.edges) > 0 {
				r.l.tell()
			}
			return nil
		})
		if err != nil {
			return 0, err
		}
	}
	return n, nil
}

// Close lets the level fall to the pull; the info goes on saying output.
func (r *twinRequest) Close() error {
	close(r.closed)
	return r.locked(func() error {
		r.l.used, r.l.consumer, r.l.level = false, "", r.l.pull
		return nil
	})
}
