package pinfs

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/fuse"
)

// text is an open file of what is said of a pin or a board: its settings, its
// unit, who has it, whether it is there.
type text struct {
	fs  *FS
	ino fuse.Ino
	by  Holder
	pin Pin // of lease, else nil

	mu   sync.Mutex
	line string // what is read from the beginning
}

var _ fuse.File = (*text)(nil)

// text returns what a file says. ok is false when it is no more.
func (f *FS) text(ino fuse.Ino) (line string, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	b, slot, code := f.at(ino)
	if b == nil {
		return "", false
	}
	if code == codeStatus {
		return b.status(), true
	}
	n := b.node(slot)
	switch what := int(code - codeFile); what {
	case fileUnit:
		line = n.Unit
	case fileKind:
		line = string(n.Kind)
	case fileGuarantee:
		line = n.Guarantee
	case fileProblem:
		line = n.Problem
	default:
		line = n.setting(key(what))
	}
	return s4t.Line(line, 4*maxSetting) + "\n", true
}

// setting is the present value of a setting.
func (n *Node) setting(key string) string {
	v := n.Settings[key]
	switch {
	case v == "" && key == s4t.PinKeyDirection:
		v = n.Direction
	case v == "" && key == s4t.PinKeyLabel:
		v = n.Label
	}
	return v
}

// status is whether a remote board is there, and when it told of its pins.
func (b *board) status() string {
	word, at := "offline", "never"
	if b.Online {
		word = "online"
	}
	if !b.ReportedAt.IsZero() {
		at = b.ReportedAt.UTC().Format(time.RFC3339)
	}
	return word + " " + at + "\n"
}

// Read reads what is so now, or what is left of what was read before.
func (o *text) Read(ctx context.Context, p []byte, off int64) (int, syscall.Errno) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if off == 0 {
		line, ok := o.fs.text(o.ino)
		if !ok {
			return 0, syscall.ENODEV
		}
		if o.pin != nil {
			line = leaseText(o.pin.Lease())
		}
		o.line = line
	}
	if off >= int64(len(o.line)) {
		return 0, 0
	}
	return copy(p, o.line[off:]), 0
}

// Write changes a setting.
func (o *text) Write(ctx context.Context, p []byte, off int64) (int, syscall.Errno) {
	if len(p) > maxSetting {
		return 0, syscall.EINVAL
	}
	o.fs.mu.Lock()
	b, slot, code := o.fs.at(o.ino)
	if b == nil || code < codeFile {
		o.fs.mu.Unlock()
		return 0, syscall.ENODEV
	}
	board, pin, key := b.Name, b.node(slot).Name, key(int(code-codeFile))
	o.fs.mu.Unlock()
	if key == "" {
		return 0, syscall.EACCES
	}
	value := strings.TrimSpace(string(p))
	if ctx == nil {
		return 0, syscall.EAGAIN
	}
	if e := o.fs.within(ctx, func(ctx context.Context) error { return o.fs.source.Set(ctx, board, pin, key, value, o.by) }); e != 0 {
		return 0, e
	}
	o.fs.follow() // who wrote it reads it
	return len(p), 0
}

// Poll: nothing is told of these; they can always be read.
func (o *text) Poll(func()) uint32 { return pollIn | pollOut }

// Release closes the pin.
func (o *text) Release() {
	if o.pin != nil {
		o.pin.Close()
	}
}

func leaseText(l *s4t.PinLease) string {
	if l == nil {
		return ""
	}
	return fmt.Sprintf("priority=%d fence=%d until=%s holder=%s\n", l.Priority, l.Fence, l.Until.UTC().Format(time.RFC3339), s4t.Line(l.Holder, maxSetting))
}
