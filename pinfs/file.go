package pinfs

import (
	"context"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/fuse"
)

// What poll(2) sees (asm-generic/poll.h). Of a new sample it is POLLPRI, as with
// sysfs GPIO, and POLLIN, which select(2) and event loops can wait for; not
// POLLERR, which sysfs adds, and which most programs take for an error: it is one here.
const (
	pollIn  = 0x1 | 0x40  // POLLIN, POLLRDNORM
	pollOut = 0x4 | 0x100 // POLLOUT, POLLWRNORM
	pollPri = 0x2
	pollErr = 0x8  // POLLERR: the board is away
	pollHup = 0x10 // POLLHUP: the pin has gone
)

// Bounds of what is written to a file.
const (
	maxValue   = 64
	maxSetting = 256
)

// file is an open file of a pin's newest sample: value or at.
type file struct {
	fs     *FS
	ino    fuse.Ino
	what   int
	remote bool
	write  bool
	pin    Pin

	mu       sync.Mutex
	line     [64]byte   // what is read from the beginning: a reader that takes it in pieces gets pieces of one sample
	n        int        // bytes of line
	read     bool       // it was read once
	ended    bool       // the reader has seen the end of the line
	seen     s4t.Sample // the one that was read last
	fence    int64      // of the claim under which it wrote
	watching bool
	gone     bool
	away     bool   // the board is
	told     bool   // what the reader knows of that
	wake     func() // of the poll that waits
}

var _ fuse.File = (*file)(nil)

// Read reads the newest sample, or what is left of the one before.
func (o *file) Read(ctx context.Context, p []byte, off int64) (int, syscall.Errno) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if off == 0 {
		if o.gone {
			return 0, syscall.ENODEV
		}
		away := o.away // a change meanwhile is told
		s, ok := o.pin.Newest()
		if !ok {
			if ctx == nil {
				return 0, syscall.EAGAIN
			}
			last, some := o.pin.Last()
			var err syscall.Errno
			if s, err = o.ask(ctx); err != 0 {
				if err != syscall.EINTR {
					// It was read, too: poll waits for what comes after.
					o.read, o.ended, o.n, o.seen, o.told = true, true, 0, last, away
				}
				return 0, err
			}
			o.take(s)
			if some && !o.remote && s.Newer(last) {
				o.seen = last // what was read may be from before the sample that came meanwhile
			}
		} else {
			o.take(s)
		}
		o.told = away
	}
	rest := o.line[:o.n]
	n := copy(p, rest[min(off, int64(o.n)):])
	o.ended = n < len(p)
	return n, 0
}

// take keeps a sample as the one that was read. o.mu is held.
func (o *file) take(s s4t.Sample) {
	o.read, o.seen = true, s
	line := o.line[:0]
	if o.what == fileAt {
		line = s.At.UTC().AppendFormat(line, time.RFC3339Nano)
	} else {
		line = strconv.AppendFloat(line, s.Value, 'g', -1, 64) // s4t.FormatPinValue, without garbage
	}
	o.n = len(append(line, '\n'))
}

// ask reads the pin itself. o.mu is held, but not while it waits.
func (o *file) ask(ctx context.Context) (s s4t.Sample, e syscall.Errno) {
	o.mu.Unlock()
	err := o.fs.within(ctx, func(ctx context.Context) (err error) {
		s, err = o.pin.Read(ctx)
		return err
	})
	o.mu.Lock()
	if o.gone {
		return s, syscall.ENODEV
	}
	return s, err
}

// within calls what may wait, for as long as somebody at a file should.
func (f *FS) within(ctx context.Context, call func(context.Context) error) syscall.Errno {
	limit := s4t.PinAnswerTime
	if !f.local {
		limit = RemoteTimeout
	}
	inner, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := call(inner)
	if err != nil && ctx.Err() != nil {
		return syscall.EINTR
	}
	return errno(err, !f.local)
}

// Write writes a value. Where in the file does not matter, as with sysfs: each
// write is one value.
func (o *file) Write(ctx context.Context, p []byte, off int64) (int, syscall.Errno) {
	if len(p) > maxValue {
		return 0, syscall.EINVAL
	}
	v, err := s4t.ParsePinValue(string(p))
	if err != nil {
		return 0, errno(err, o.remote)
	}
	o.mu.Lock()
	gone, fence := o.gone, o.fence
	o.mu.Unlock()
	if gone {
		return 0, syscall.ENODEV
	}
	if ctx == nil {
		return 0, syscall.EAGAIN
	}
	e := o.fs.within(ctx, func(ctx context.Context) error {
		held, err := o.pin.Write(ctx, v, fence)
		if err == nil && held != 0 {
			o.mu.Lock()
			o.fence = held
			o.mu.Unlock()
		}
		return err
	})
	if e == 0 {
		return len(p), 0
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.gone {
		return 0, syscall.ENODEV
	}
	return 0, e
}

// Poll says whether there is a newer sample than the one that was read last.
// Before the first read there is one, as with sysfs: so nobody misses what came
// between open and poll. What is left of a line can be read, too, and its end:
// the shell of busybox polls before each byte. That the board went away, or is back,
// is told until it is read, which gives EHOSTUNREACH in the one case.
func (o *file) Poll(wake func()) uint32 {
	o.mu.Lock()
	defer o.mu.Unlock()
	if wake != nil {
		o.wake = wake
	}
	if !o.watching && !o.gone {
		// Outside the lock: a source may have wake called at once.
		o.watching = true
		o.mu.Unlock()
		o.pin.Watch(o.news)
		o.mu.Lock()
	}
	var events uint32
	if o.write {
		events = pollOut
	}
	if o.gone {
		return events | pollIn | pollPri | pollErr | pollHup
	}
	newer := !o.read
	if !newer {
		s, ok := o.pin.Last() // not Newest: of an output, or one edge only, that is never at hand
		newer = ok && s.Newer(o.seen)
	}
	if o.away != o.told {
		newer = true
		if o.away {
			events |= pollErr
		}
	}
	if newer || !o.ended {
		events |= pollIn
	}
	if newer {
		events |= pollPri
	}
	return events
}

// news wakes who polls.
func (o *file) news() {
	o.mu.Lock()
	wake := o.wake
	o.wake = nil
	o.mu.Unlock()
	if wake != nil {
		wake()
	}
}

// leave makes the file one of a pin that has gone, for ever: a pin of the same
// name that comes later is another one.
func (o *file) leave() {
	o.mu.Lock()
	o.gone = true
	o.mu.Unlock()
	o.news()
}

// Release closes the pin.
func (o *file) Release() {
	o.fs.mu.Lock()
	delete(o.fs.files, o)
	o.fs.mu.Unlock()
	o.mu.Lock()
	o.wake = nil
	o.mu.Unlock()
	o.pin.Close()
}
