package hal

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/stack4things/s4t"
	"github.com/warthog618/go-gpiocdev/uapi"
	"golang.org/x/sys/unix"
)

// gpioDriver finds the lines of the board's GPIO chips (Linux 5.10 and newer,
// include/uapi/linux/gpio.h, version 2): gpio/gpiochip0/17, the
// chip as the kernel's tools call it, and the line's offset. The numbers of chips can be others after a
// reboot on a board with several; the name that the board's maker has given a line, which is
// its label where no other line has it, is not.
//
// A line is looked at by what the kernel tells of it: to ask for one, even as an
// input, can change what is on it. Opening a line asks for it as it is, so
// nobody else can have it from then on.
type gpioDriver struct {
	dev    string
	kernel gpioSystem
}

func newGPIO(dev string, kernel gpioSystem) Driver { return gpioDriver{dev, kernel} }

const (
	gpioConsumer = "lightning-rod" // what the kernel says of who has our lines
	gpioEvents   = 1024            // edges of a line that the kernel keeps for us; its default of 16 is little
	gpioLines    = s4t.MaxPins     // of a chip, at most
	gpioDebounce = time.Minute     // the longest
)

// gpioSystem is the kernel, or its twin in a test.
type gpioSystem interface {
	open(path string) (gpioChip, error)
}

// gpioChip is an open GPIO chip.
type gpioChip interface {
	info() (uapi.ChipInfo, error)
	line(offset int) (uapi.LineInfoV2, error)
	request(*uapi.LineRequest) (gpioRequest, error)
	Close() error
}

// gpioRequest is a line that we have.
type gpioRequest interface {
	value() (int, error)
	setValue(int) error
	config(*uapi.LineConfig) error
	// next waits for edges and reads as many as fit into list. It ends with
	// an error when the request is closed.
	next(list []uapi.LineEvent) (int, error)
	Close() error
}

// Name is gpio.
func (gpioDriver) Name() string { return "gpio" }

// gpioKeys are the settings of a line.
var gpioKeys = []string{s4t.PinKeyDirection, s4t.PinKeyEdge, s4t.PinKeyBias, s4t.PinKeyDebounce}

const gpioGuarantee = "driven while lightning-rod runs; when it is killed: low and high at once, until then and with hold as the chip does (most keep the level, some fall to the bias)"

// Scan lists the lines of all chips.
func (d gpioDriver) Scan(context.Context) (list []Found, err error) {
	files, err := filepath.Glob(filepath.Join(d.dev, "gpiochip*"))
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		list = append(list, d.chip(file)...)
	}
	return onceLabelled(list), nil
}

// chip lists the lines of a chip; none, where it cannot be opened: it went, or is not a chip.
func (d gpioDriver) chip(file string) (list []Found) {
	chip, err := d.kernel.open(file)
	if err != nil {
		return nil
	}
	defer chip.Close()
	info, err := chip.info()
	if err != nil {
		return nil
	}
	for offset := range min(int(info.Lines), gpioLines) {
		li, err := chip.line(offset)
		if err != nil {
			return list
		}
		p := inputPin("gpio", filepath.Base(file), strconv.Itoa(offset), s4t.PinDigital, "")
		if li.Flags.IsOutput() {
			p.Direction, p.Writable = s4t.PinOut, true
		}
		p.Label, p.Keys, p.Guarantee = uapi.BytesToString(li.Name[:]), gpioKeys, gpioGuarantee
		p.Settings = gpioSettings(li)
		if who := uapi.BytesToString(li.Consumer[:]); li.Flags.IsUsed() && who != gpioConsumer {
			p.Problem = fmt.Sprintf("%q has the line", who)
		}
		list = append(list, Found{Pin: p, Open: func() (Line, error) { return d.openLine(file, offset) }})
	}
	return list
}

// gpioSettings are the settings of a line as the kernel tells them.
func gpioSettings(li uapi.LineInfoV2) map[string]string {
	set := map[string]string{s4t.PinKeyDirection: s4t.PinIn, s4t.PinKeyEdge: "none", s4t.PinKeyBias: "as-is", s4t.PinKeyDebounce: "0s"}
	if li.Flags.IsOutput() {
		set[s4t.PinKeyDirection] = s4t.PinOut
	}
	for word, flag := range gpioEdges {
		if li.Flags&uapi.LineFlagV2EdgeMask == flag {
			set[s4t.PinKeyEdge] = word
		}
	}
	for word, flag := range gpioBiases {
		if li.Flags&uapi.LineFlagV2BiasMask == flag {
			set[s4t.PinKeyBias] = word
		}
	}
	for _, a := range li.Attrs[:min(int(li.NumAttrs), len(li.Attrs))] {
		if a.ID == uapi.LineAttributeIDDebounce {
			set[s4t.PinKeyDebounce] = (time.Duration(a.Value32()) * time.Microsecond).String()
		}
	}
	return set
}

// The words of the settings, and their flags.
var (
	gpioBiases = map[string]uapi.LineFlagV2{"as-is": 0, "disabled": uapi.LineFlagV2BiasDisabled, "pull-up": uapi.LineFlagV2BiasPullUp, "pull-down": uapi.LineFlagV2BiasPullDown}
	gpioEdges  = map[string]uapi.LineFlagV2{"none": 0, "rising": uapi.LineFlagV2EdgeRising, "falling": uapi.LineFlagV2EdgeFalling, "both": uapi.LineFlagV2EdgeBoth}
)

// openLine asks for the line as it is.
func (d gpioDriver) openLine(file string, offset int) (Line, error) {
	chip, err := d.kernel.open(file)
	if err != nil {
		return nil, gone(err)
	}
	defer chip.Close()
	before, err := chip.line(offset)
	if err != nil {
		return nil, gone(err)
	}
	ask := lineRequest(offset)
	request, err := chip.request(&ask)
	if errors.Is(err, syscall.EBUSY) {
		who, _ := chip.line(offset)
		return nil, fmt.Errorf("%q has the line: %w", uapi.BytesToString(who.Consumer[:]), err)
	}
	if err != nil {
		return nil, gone(err)
	}
	return &gpioLine{
		file: file, offset: offset, request: request, output: before.Flags.IsOutput(), bias: before.Flags & uapi.LineFlagV2BiasMask, done: make(chan struct{}),
	}, nil
}

// lineRequest asks for a line as it is.
func lineRequest(offset int) uapi.LineRequest {
	r := uapi.LineRequest{Lines: 1, EventBufferSize: gpioEvents}
	r.Offsets[0] = uint32(offset)
	copy(r.Consumer[:len(r.Consumer)-1], gpioConsumer)
	return r
}

// gpioLine is the Line of a GPIO line.
type gpioLine struct {
	file     string // of the chip
	offset   int
	request  gpioRequest
	output   bool
	edge     uapi.LineFlagV2
	bias     uapi.LineFlagV2
	debounce time.Duration

	events chan Event // made when edges are first asked for
	done   chan struct{}
	ended  sync.WaitGroup

	mu    sync.Mutex    // guards what follows, which the reader of edges needs too
	delay time.Duration // the kernel stamps a debounced edge at the end of the wait
}

func (l *gpioLine) Read() (float64, error) {
	v, err := l.request.value()
	return float64(v), gone(err)
}

func (l *gpioLine) Write(v float64) error {
	switch {
	case !l.output:
		return syscall.EPERM
	case v != 0 && v != 1:
		return syscall.EINVAL
	}
	return gone(l.request.setValue(int(v)))
}

// Guarded has the guard take the line.
func (l *gpioLine) Guarded(v float64) GuardOrder {
	return GuardOrder{Path: l.file, GPIO: true, Offset: l.offset, Text: s4t.FormatPinValue(v)}
}

// Set changes settings. A line that becomes an output drives the level that is on it.
func (l *gpioLine) Set(settings map[string]string) error {
	n := gpioLine{output: l.output, edge: l.edge, bias: l.bias, debounce: l.debounce}
	for key, word := range settings {
		ok := true
		switch key {
		case s4t.PinKeyDirection:
			n.output, ok = word == s4t.PinOut, word == s4t.PinOut || word == s4t.PinIn
		case s4t.PinKeyEdge:
			n.edge, ok = gpioEdges[word]
		case s4t.PinKeyBias:
			n.bias, ok = gpioBiases[word]
		case s4t.PinKeyDebounce:
			var err error
			n.debounce, err = gpioDuration(word)
			ok = err == nil
		default:
			ok = false
		}
		if !ok {
			return fmt.Errorf("%s cannot be %q: %w", key, s4t.Line(word, 32), syscall.EINVAL)
		}
	}
	if n.output == l.output && n.edge == l.edge && n.bias == l.bias && n.debounce == l.debounce {
		return nil // it stays as it was found
	}
	config := uapi.LineConfig{Flags: uapi.LineFlagV2Input | n.edge | n.bias}
	if n.output {
		v, err := l.request.value()
		if err != nil {
			return gone(err)
		}
		config.Flags = uapi.LineFlagV2Output | n.bias
		config.AddAttribute(uapi.LineConfigAttribute{Attr: uapi.OutputValues(v).Encode(), Mask: 1})
	} else if n.debounce > 0 {
		config.AddAttribute(uapi.LineConfigAttribute{Attr: uapi.DebouncePeriod(n.debounce).Encode(), Mask: 1})
	}
	if err := l.request.config(&config); err != nil {
		return gone(err)
	}
	l.output, l.edge, l.bias, l.debounce = n.output, n.edge, n.bias, n.debounce
	l.mu.Lock()
	l.delay = n.debounce
	l.mu.Unlock()
	return nil
}

// gpioDuration reads a debounce; "0" is none.
func gpioDuration(word string) (time.Duration, error) {
	d, err := time.ParseDuration(word)
	if err == nil && (d < 0 || d > gpioDebounce) {
		err = syscall.EINVAL
	}
	return d, err
}

// Events tells edges, where edges are asked for. A chip that is pulled does not wake who waits for its
// edges (Linux 6.1): that it went is told by the next Scan.
func (l *gpioLine) Events() <-chan Event {
	if l.output || l.edge == 0 {
		return nil
	}
	if l.events == nil {
		l.events = make(chan Event, 64)
		l.ended.Go(l.tell)
	}
	return l.events
}

// tell sends edges until the line is closed.
func (l *gpioLine) tell() {
	defer close(l.events)
	var clock gpioClock
	var last uint32 // number of the newest edge; the kernel counts from 1
	list := make([]uapi.LineEvent, 64)
	for {
		n, err := l.request.next(list)
		if err != nil {
			if errors.Is(gone(err), syscall.ENODEV) {
				l.send(Event{At: time.Now(), Err: syscall.ENODEV})
			}
			return
		}
		l.mu.Lock()
		delay := l.delay
		l.mu.Unlock()
		clock.set()
		for _, e := range list[:n] {
			event := Event{At: clock.wall(e.Timestamp).Add(-delay)}
			if e.ID == uapi.LineEventRisingEdge {
				event.Value = 1
			}
			if e.LineSeqno > last { // not: the count is over its end
				event.Lost = uint64(e.LineSeqno - last - 1)
			}
			last = e.LineSeqno
			if !l.send(event) {
				return
			}
		}
	}
}

func (l *gpioLine) send(e Event) bool {
	select {
	case l.events <- e:
		return true
	case <-l.done:
		return false
	}
}

// Close gives the line back.
func (l *gpioLine) Close() error {
	close(l.done)
	err := l.request.Close()
	l.ended.Wait()
	return err
}

// gpioClock turns the kernel's monotonic time stamps into times of day. It
// follows a clock that was set, and nothing smaller: the time between two edges is the kernel's.
type gpioClock struct{ offset int64 }

// gpioClockStep is what counts as a clock that was set.
const gpioClockStep = int64(5 * time.Millisecond)

func (c *gpioClock) set() {
	best, offset := int64(1<<62), c.offset
	for range 3 { // the one that was interrupted least
		before, now, after := monotonic(), time.Now().UnixNano(), monotonic()
		if after-before < best {
			best, offset = after-before, now-(before+after)/2
		}
	}
	if d := offset - c.offset; d > gpioClockStep || d < -gpioClockStep {
		c.offset = offset
	}
}

func (c *gpioClock) wall(stamp uint64) time.Time { return time.Unix(0, int64(stamp)+c.offset) }

// monotonic is CLOCK_MONOTONIC in ns.
func monotonic() int64 {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) // cannot fail
	return ts.Nano()
}
