package hal

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/internal/tomlfile"
)

// endPatience is how long Run waits at its end for devices that do not answer.
const endPatience = 3 * time.Second

// problemPause is how often at most a change is counted because problems came or went: a device
// that flaps has the files of all pins made anew.
const problemPause = time.Second

// maxEnded bounds what is kept of leases that are over, while nobody hears it.
const maxEnded = 1024

// Config of a HAL.
type Config struct {
	File    string           // the io-config; "": there is none
	State   string           // directory of the journal; "": nothing is kept
	Drivers []Driver         // nil: Kernel(Sys, Dev); sim is added to both where it has pins
	Sys     string           // root of sysfs; "": /sys
	Dev     string           // root of the devices; "": /dev
	Guard   func() *exec.Cmd // `lightning-rod pin-guard`, made anew for each start; nil: no fallback at death
	Log     *slog.Logger     // nil: none
}

// HAL is the I/O of a board. All its methods may be called from several goroutines.
type HAL struct {
	config  Config
	file    config
	log     *slog.Logger
	drivers []Driver
	wall    func() time.Time
	wallOff atomic.Int64 // ns, see moment
	boot    func() (string, time.Duration)
	uevents func() (*os.File, error)
	timers  *timers
	samples *histories
	journal journal
	last    book // the journal as it was found: for pins that were not there yet

	scanNow   chan struct{} // cap 1
	guardNews chan struct{} // cap 1
	over      chan struct{} // closed when Run ends
	fallen    chan struct{} // closed when the outputs have fallen back
	guarding  atomic.Bool   // a guard knows what to do
	toldAt    atomic.Int64  // when a problem of a pin was looked for last, ns since the start
	telling   atomic.Bool   // tellTimer is set
	tellTimer *timer
	work      sync.WaitGroup

	mu      sync.Mutex // guards what follows; before orders and Pin.mu
	running bool
	pins    map[string]*Pin
	labels  map[string]*Pin
	list    []*Pin // by name; never changed in place
	devices map[string]*device
	busy    map[int]bool                 // drivers that scan, by their index
	away    map[string]*kept             // pins that are not there, by name
	set     map[string]map[string]string // what Set set, by pin; the maps are never changed in place
	wrong   []string                     // of the configuration and the last scan
	damage  string                       // of the journal
	changes uint64
	changed chan struct{}

	orders  sync.Mutex // guards the seats of the pins, and what follows; before Pin.mu
	ended   []Ended
	endNews chan struct{}
}

// New reads the configuration: a mistake in it is an error that says where. It finds
// the pins that are there now, and drives nothing yet.
func New(c Config) (*HAL, error) { return newHAL(c, time.Now, bootTime) }

func newHAL(c Config, wall func() time.Time, boot func() (string, time.Duration)) (*HAL, error) {
	h := &HAL{
		config: c, log: c.Log, wall: func() time.Time { return wall().Round(0) }, boot: boot, uevents: openUevents,
		timers: newTimers(), samples: newHistories(s4t.MaxPinHistory), journal: journal{dir: c.State, dirty: make(chan struct{}, 1), haste: make(chan struct{}, 1)},
		scanNow: make(chan struct{}, 1), guardNews: make(chan struct{}, 1), over: make(chan struct{}), fallen: make(chan struct{}),
		pins: map[string]*Pin{}, labels: map[string]*Pin{}, devices: map[string]*device{}, busy: map[int]bool{}, away: map[string]*kept{}, set: map[string]map[string]string{},
		changed: make(chan struct{}), endNews: make(chan struct{}),
	}
	h.tellTimer = newTimer(h.tellProblems)
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	if c.File != "" {
		text, err := readBounded(c.File, tomlfile.MaxFile)
		if err == nil {
			h.file, err = parseConfig(c.File, text)
		}
		if _, ours := errors.AsType[*s4t.Error](err); err != nil && !ours {
			err = s4t.Errorf(s4t.Invalid, "read the io-config "+c.File, "name a file that can be read", "%w", err)
		}
		if err != nil {
			return nil, err
		}
	}
	h.last, h.damage = h.journal.load()
	h.ended = h.last.Ended
	for name, k := range h.last.Pins {
		h.away[name] = &k
		if len(k.Settings) > 0 {
			h.set[name] = k.Settings
		}
	}
	if h.drivers = c.Drivers; h.drivers == nil {
		h.drivers = Kernel(orElse(c.Sys, "/sys"), orElse(c.Dev, "/dev"))
	}
	h.drivers = slices.Clone(h.drivers)
	h.scan(context.Background())
	sims := h.file.Sim
	if len(sims) == 0 && len(h.list) == 0 {
		sims = slices.Clone(demo)
		if err := checkWaves("", sims); err != nil {
			return nil, err
		}
	}
	if len(sims) > 0 {
		sim, err := newSim(sims)
		if err != nil {
			return nil, err
		}
		h.drivers = append(h.drivers, sim)
		h.scan(context.Background())
	}
	return h, nil
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// readBounded reads a regular file of at most n bytes. Nothing that could block is opened so that
// it does, or read.
func readBounded(file string, n int64) ([]byte, error) {
	f, err := os.OpenFile(file, os.O_RDONLY|unix.O_NONBLOCK, 0) // fifo(7): it is opened without a writer
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() && file != os.DevNull {
		return nil, errors.New("it is no regular file")
	}
	b, err := io.ReadAll(io.LimitReader(f, n+1))
	if err == nil && int64(len(b)) > n {
		err = errors.New("it is longer than " + strconv.FormatInt(n, 10) + " bytes")
	}
	return b, err
}

// Run works the pins until ctx ends. Then the outputs fall back as they are set to.
func (h *HAL) Run(ctx context.Context) error {
	relieve(h.config.State)
	h.mu.Lock()
	h.running = true
	for _, d := range h.devices {
		go d.run()
	}
	h.mu.Unlock()

	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { h.timers.run(ctx); return nil })
	g.Go(func() error { h.follow(ctx); return nil })
	g.Go(func() error { h.keep(ctx); return nil })
	if h.config.Guard != nil {
		h.work.Add(1)
		go func() {
			defer h.work.Done()
			h.watchOver(ctx)
		}()
	}
	err := g.Wait()
	h.end()
	return err
}

// end lets the outputs fall back and closes all lines.
func (h *HAL) end() {
	h.mu.Lock()
	list, devices := h.list, h.devices
	h.running = false
	h.devices = map[string]*device{}
	h.mu.Unlock()
	h.save() // before they fall back: a restart drives what they were
	for _, p := range list {
		if v, falls := p.atEnd(); falls {
			p.dev.put(func() {
				if err := p.drive(v, nil); err != nil {
					h.log.Error("a pin did not fall back", "pin", p.name, "error", err)
				}
			})
		}
	}
	patience := time.NewTimer(endPatience)
	defer patience.Stop()
	all := true
	for name, d := range devices {
		done := make(chan struct{})
		d.put(func() { close(done) })
		select {
		case <-done:
		case <-patience.C:
			patience.Reset(0)
			all = false
			h.log.Error("a device does not answer; it is left", "device", name)
		}
	}
	close(h.fallen)
	close(h.over)
	for _, p := range list {
		p.dev.put(p.shut)
	}
	for _, d := range devices {
		d.close()
	}
	if all {
		for _, d := range devices {
			<-d.done
		}
		h.work.Wait()
	}
}

// Pins are all pins, by name.
func (h *HAL) Pins() []s4t.Pin {
	h.mu.Lock()
	list := h.list
	h.mu.Unlock()
	out := make([]s4t.Pin, len(list))
	for i, p := range list {
		out[i] = p.Info()
	}
	return out
}

// Revision counts the changes of the pins' names and metadata, and that one has a problem
// or none any more; not those of their values and leases.
func (h *HAL) Revision() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.changes
}

// Changed is closed when Revision is another; ask anew for the next change.
func (h *HAL) Changed() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.changed
}

// change counts one. Caller holds mu.
func (h *HAL) change() {
	h.changes++
	close(h.changed)
	h.changed = make(chan struct{})
}

// problemNews says that a pin may have a problem that it had not, or the other way. It does not wait.
func (h *HAL) problemNews() {
	if h.telling.CompareAndSwap(false, true) {
		h.timers.set(h.tellTimer, max(h.timers.now(), time.Duration(h.toldAt.Load())+problemPause))
	}
}

// tellProblems counts a change where problems of pins came or went.
func (h *HAL) tellProblems(time.Duration) {
	h.toldAt.Store(int64(h.timers.now()))
	h.telling.Store(false)
	h.mu.Lock()
	defer h.mu.Unlock()
	changed := false
	for _, p := range h.list {
		p.mu.Lock()
		if has := p.problem != "" || p.dev.stuck() != ""; has != p.ill {
			p.ill, changed = has, true
		}
		p.mu.Unlock()
	}
	if changed {
		h.change()
	}
}

// Pin finds a pin by its name or its label.
func (h *HAL) Pin(name string) (*Pin, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if p := h.pins[name]; p != nil {
		return p, nil
	}
	if p := h.labels[name]; p != nil {
		return p, nil
	}
	return nil, s4t.Errorf(s4t.NotFound, "find the pin "+s4t.Line(name, 3*s4t.MaxName), "list the pins", "there is none of that name or label")
}

// ruleOf is what the owner says of a pin.
func (h *HAL) ruleOf(name string) rule {
	if p, err := h.Pin(name); err == nil {
		return p.rule
	}
	return rule{}
}

// Access is what the owner's configuration says of the files of a pin; all 0:
// nothing.
func (h *HAL) Access(name string) (mode, uid, gid uint32) {
	r := h.ruleOf(name)
	if r.Owner.id != nil {
		uid = *r.Owner.id
	}
	if r.Group.id != nil {
		gid = *r.Group.id
	}
	return r.Mode.bits, uid, gid
}

// What the cloud may do with a pin.
const (
	CloudNone  = "none"  // it does not know that it is there
	CloudRead  = "read"  // read, history, watch
	CloudWrite = "write" // all
)

// Cloud is what the owner's configuration lets the cloud do with a pin:
// CloudNone, CloudRead, CloudWrite.
func (h *HAL) Cloud(name string) string { return orElse(string(h.ruleOf(name).Cloud), CloudWrite) }

// Problems are what is wrong with the board's I/O as a whole, for people.
func (h *HAL) Problems() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := slices.Clone(h.wrong)
	for _, p := range []string{h.damage, h.journal.problem} {
		if p != "" {
			out = append(out, p)
		}
	}
	return out
}

// Ended is an actuation or a claim that is over.
type Ended struct {
	Pin     string `json:"pin"`
	Tag     string `json:"tag,omitempty"`   // of the Order
	Fence   int64  `json:"fence,omitempty"` // of the claim
	Outcome string `json:"outcome"`         // Over, Reaped, Released, Failed
	Holder  string `json:"holder"`          // whose it was, for people
	By      string `json:"by,omitempty"`    // of Reaped: who took the pin, for people
	Detail  string `json:"detail,omitempty"`
}

// Outcomes of an Ended.
const (
	Over     = "over"     // its time was over
	Reaped   = "reaped"   // a higher priority took the pin, also one of the same holder
	Released = "released" // by its holder, or by a newer write of the same holder and of no higher priority
	Failed   = "failed"   // the pin went away, or could not be written
)

// Ended are the actuations and claims that are over and were not heard yet, the
// oldest first.
func (h *HAL) Ended() []Ended {
	h.orders.Lock()
	defer h.orders.Unlock()
	return slices.Clone(h.ended)
}

// EndedChanged is closed when there is one more; ask anew for the next.
func (h *HAL) EndedChanged() <-chan struct{} {
	h.orders.Lock()
	defer h.orders.Unlock()
	return h.endNews
}

// Heard forgets the first n of Ended.
func (h *HAL) Heard(n int) {
	h.orders.Lock()
	h.ended = slices.Clone(h.ended[min(max(n, 0), len(h.ended)):])
	h.orders.Unlock()
	h.journal.touch()
}

// tell keeps one more. Where nobody hears them for long the newest go: those
// that Heard counts stay. Caller holds orders.
func (h *HAL) tell(e Ended) {
	h.journal.touch()
	if len(h.ended) == maxEnded {
		h.log.Warn("an actuation or claim that is over is not told: too many wait to be heard", "pin", e.Pin, "outcome", e.Outcome)
		return
	}
	h.ended = append(h.ended, e)
	close(h.endNews)
	h.endNews = make(chan struct{})
}
