package hal

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stack4things/s4t"
)

// reopenAfter is when a line that could not be opened is tried again: nobody tells
// when another program gives it back.
const reopenAfter = 10 * time.Second

// pump carries what a line tells, until its channel is closed.
type pump struct {
	events <-chan Event
	stop   chan struct{}
}

// work opens the line where it is not open, and works it; nil: only opens it. It is
// called on the device's goroutine.
func (p *Pin) work(f func(Line) error) error {
	if p.isGone() {
		return unix.ENODEV
	}
	err := p.open()
	if err == nil && f != nil {
		err = f(p.line)
	}
	if errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENXIO) {
		p.shut()
		p.hal.rescan()
	}
	return err
}

// isGone reports whether the pin went away.
func (p *Pin) isGone() bool {
	select {
	case <-p.gone:
		return true
	default:
		return false
	}
}

// open opens the line. It is called on the device's goroutine.
func (p *Pin) open() error {
	if p.line != nil {
		return nil
	}
	select {
	case <-p.hal.over: // all lines are being closed: a sample that is late opens none again
		return unix.ENODEV
	default:
	}
	p.mu.Lock()
	open := p.found.Open
	p.mu.Unlock()
	line, err := open()
	if err != nil {
		return err
	}
	p.line = line
	if len(p.apply) > 0 {
		if err := line.Set(p.apply); err != nil {
			p.shut()
			return err
		}
	}
	p.listen()
	p.toGuard()
	if !p.told.Load() {
		return nil
	}
	raw, err := line.Read()
	if err == nil {
		p.measured(p.hal.moment(), raw, 0, asked) // what is wrong with it the pin says
	} else {
		p.shut()
	}
	return err
}

// shut closes the line. It is called on the device's goroutine.
func (p *Pin) shut() {
	p.fresh.Store(false)
	if p.line == nil {
		return
	}
	p.line.Close() // it is not used again, whatever the device says
	p.line = nil
	if p.pump != nil {
		close(p.pump.stop)
		p.pump = nil
	}
	p.told.Store(false)
}

// listen follows what the line tells. It is called on the device's goroutine,
// after Open and after a Set.
func (p *Pin) listen() {
	events := p.line.Events()
	p.mu.Lock()
	edge, hasEdge := p.settings.text[s4t.PinKeyEdge]
	p.mu.Unlock()
	p.told.Store(events != nil && (!hasEdge || edge == "both"))
	if !p.told.Load() {
		p.fresh.Store(false)
	}
	if p.pump != nil {
		if p.pump.events == events {
			return
		}
		close(p.pump.stop)
		p.pump = nil
	}
	if events == nil {
		return
	}
	p.pump = &pump{events, make(chan struct{})}
	p.hal.work.Add(1)
	go p.carry(p.pump)
}

// carry takes the events of a pump. At its end none that is there is left.
func (p *Pin) carry(from *pump) {
	defer p.hal.work.Done()
	for {
		select {
		case e, ok := <-from.events:
			if !ok || !p.event(e) {
				return
			}
		case <-from.stop:
			for {
				select {
				case e, ok := <-from.events:
					if !ok || !p.event(e) {
						return
					}
				default:
					return
				}
			}
		}
	}
}

// event takes one; false: it was the last.
func (p *Pin) event(e Event) bool {
	if e.Err != nil {
		p.fail(e.Err)
		p.dev.put(p.shut)
		p.hal.rescan()
		return false
	}
	p.measured(p.hal.momentOf(e.At), e.Value, e.Lost, event) // what is wrong with it the pin says
	return true
}

// sample reads the pin at its time. It is called on the device's goroutine.
func (p *Pin) sample() {
	p.mu.Lock()
	periodic := p.settings.period > 0
	p.mu.Unlock()
	var f func(Line) error
	if periodic {
		f = func(line Line) error {
			raw, err := line.Read()
			if err == nil {
				_, err = p.measured(p.hal.moment(), raw, 0, sampled)
			}
			return err
		}
	}
	err := p.work(f)
	if err == nil {
		return
	}
	p.fail(err)
	if !periodic && !p.isGone() {
		p.hal.timers.set(p.tick, p.hal.timers.now()+reopenAfter)
	}
}

// fail keeps why the pin has no value.
func (p *Pin) fail(err error) {
	p.fresh.Store(false)
	p.mu.Lock()
	p.says(s4t.Line(p.failed("read", err).Error(), maxProblem))
	p.mu.Unlock()
}

// says notes what is wrong with the pin; "": nothing. Caller holds mu.
func (p *Pin) says(problem string) {
	if p.problem = problem; (problem != "") != p.ill {
		p.hal.problemNews()
	}
}
