package hal

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stack4things/s4t"
)

// maxJobs bounds what waits for one device.
const maxJobs = 256

// stuckAfter is when a device that does not answer is told as a problem of its pins.
const stuckAfter = 2 * time.Second

// device works the lines of one device from one goroutine. One that blocks
// holds up nobody else.
type device struct {
	name   string
	timers *timers
	news   func()        // it does not answer any more, or does again
	wake   chan struct{} // cap 1
	done   chan struct{} // closed at the end of run

	since   atomic.Int64 // when the job under way began, ns since the start of the HAL; 0: none is
	look    *timer       // whether it answers
	looking atomic.Bool  // look is set
	late    atomic.Bool  // it does not

	mu     sync.Mutex // guards what follows; a leaf
	jobs   []func()
	due    []*Pin // to be sampled
	closed bool   // run ends when it has done what is there
}

func newDevice(name string, t *timers, news func()) *device {
	d := &device{name: name, timers: t, news: news, wake: make(chan struct{}, 1), done: make(chan struct{})}
	d.look = newTimer(d.looked)
	return d
}

// begins notes that a job, or some, begin: the one before is done.
func (d *device) begins() {
	d.since.Store(int64(max(d.timers.now(), 1)))
	d.answers()
	d.watch()
}

// answers notes that nothing is under way that lasts too long.
func (d *device) answers() {
	if d.late.Load() && d.late.CompareAndSwap(true, false) {
		d.news()
	}
}

// watch has the device looked at when it should have answered, once for all jobs until then.
func (d *device) watch() {
	if since := d.since.Load(); since > 0 && d.looking.CompareAndSwap(false, true) {
		d.timers.set(d.look, time.Duration(since)+stuckAfter+time.Millisecond)
	}
}

// looked is the time of a look.
func (d *device) looked(time.Duration) {
	d.looking.Store(false)
	if d.stuck() == "" {
		d.watch() // a job that began later
		return
	}
	d.late.Store(true)
	d.news()
	if d.stuck() == "" { // it answered meanwhile, and may have seen no late
		d.answers()
	}
}

// room reports whether n jobs more may wait.
func (d *device) room(n int) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.jobs)+n <= maxJobs && !d.closed
}

// put has a job done after those before it; false where the device is closed.
// Who must not add without bound asks room before.
func (d *device) put(job func()) bool {
	d.mu.Lock()
	open := !d.closed
	if open {
		d.jobs = append(d.jobs, job)
	}
	d.mu.Unlock()
	d.signal()
	return open
}

// sample has a pin sampled, once, however often it is asked until then.
func (d *device) sample(p *Pin) {
	if !p.queued.CompareAndSwap(false, true) {
		return
	}
	d.mu.Lock()
	d.due = append(d.due, p)
	d.mu.Unlock()
	d.signal()
}

// close has run end.
func (d *device) close() {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	d.signal()
}

func (d *device) signal() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// run works until close. Orders come before samples.
func (d *device) run() {
	defer close(d.done)
	var due []*Pin
	for {
		d.mu.Lock()
		jobs, closed := d.jobs, d.closed
		d.jobs = nil
		if len(due) == 0 {
			due, d.due = d.due, nil
		}
		d.mu.Unlock()
		if len(jobs)+len(due) > 0 {
			d.begins()
		}
		switch {
		case len(jobs) > 0:
			for _, job := range jobs {
				job()
			}
		case len(due) > 0:
			due[0].queued.Store(false)
			due[0].sample()
			due = due[1:]
		case closed:
			return
		default:
			d.since.Store(0)
			d.answers()
			<-d.wake
		}
	}
}

// stuck says since when the device has not answered; "": it answers.
func (d *device) stuck() string {
	if since := d.since.Load(); since > 0 {
		if busy := d.timers.now() - time.Duration(since); busy > stuckAfter {
			return fmt.Sprintf("the device %s has not answered for %s", d.name, busy.Round(time.Second))
		}
	}
	return ""
}

// do works the line on the device's goroutine, for as long as ctx lasts. What
// is still waiting then is not done.
func (p *Pin) do(ctx context.Context, op string, work func(Line) error) error {
	done := make(chan error, 1)
	if p.isGone() {
		return p.failed(op, unix.ENODEV)
	}
	if !p.dev.room(1) {
		return p.busy(op)
	}
	p.dev.put(func() {
		err := ctx.Err()
		if err == nil {
			err = p.work(work)
		}
		done <- err
	})
	return p.wait(ctx, op, done)
}

// wait waits for a job.
func (p *Pin) wait(ctx context.Context, op string, done <-chan error) error {
	select {
	case err := <-done:
		return p.failed(op, err)
	default:
	}
	select {
	case err := <-done:
		return p.failed(op, err)
	case <-p.gone:
		return p.failed(op, unix.ENODEV)
	case <-p.hal.over:
		return s4t.Errorf(s4t.Unavailable, op+" "+p.name, "try again when lightning-rod runs", "lightning-rod ends")
	case <-ctx.Done():
		return p.failed(op, ctx.Err())
	}
}

// busy is the error of a device for which too much waits.
func (p *Pin) busy(op string) error {
	return s4t.Errorf(s4t.TooMany, op+" "+p.name, "try again when the device answers", "%d orders wait for the device %s already", maxJobs, p.dev.name)
}

// failed makes an error of a driver one for people.
func (p *Pin) failed(op string, err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*s4t.Error](err); ok {
		if e.Op == "" {
			return &s4t.Error{Op: op + " " + p.name, Kind: e.Kind, Msg: e.Msg, Hint: e.Hint, Err: e}
		}
		return err
	}
	op += " " + p.name
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return s4t.Errorf(s4t.Timeout, op, "look at the device, or wait longer", "the device %s did not answer in time (%w)", p.dev.name, err)
	case errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		return s4t.Errorf(s4t.NotFound, op, "plug it in again", "the device %s is gone (%w)", p.dev.name, err)
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ERANGE), errors.Is(err, unix.EOPNOTSUPP):
		return s4t.Errorf(s4t.Invalid, op, "see what the pin can do with `s4t pin list`", "its device does not take that (%w)", err)
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return s4t.Errorf(s4t.Forbidden, op, "set direction=out where the pin has it, or run lightning-rod as root", "it cannot be done on this pin (%w)", err)
	case errors.Is(err, unix.EBUSY):
		return s4t.Errorf(s4t.Conflict, op, "end the other program", "another program of the board has it (%w)", err)
	}
	return s4t.Errorf(s4t.Internal, op, "look at the device", "%w", err)
}
