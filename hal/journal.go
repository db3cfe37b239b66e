package hal

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stack4things/s4t"
)

const (
	journalFile = "pins.json"
	maxJournal  = 4 << 20 // bytes
	maxKept     = 4096    // pins, also of devices that are away

	// journalPause is how often the journal is written at most because of values, to
	// spare flash: after a pause the first change is on disk at once.
	journalPause = 10 * time.Second
)

// journal keeps what a restart must know.
type journal struct {
	dir   string        // "": nothing is kept
	dirty chan struct{} // cap 1
	haste chan struct{} // cap 1: without a pause

	mu      sync.Mutex    // held while it is written; before hal.orders
	last    []byte        // what is on disk
	toBoot  time.Duration // from the monotonic clock to the kernel's since its boot, which goes on in sleep
	problem string        // guarded by hal.mu
}

// book is the content of the journal.
type book struct {
	Boot  string          `json:"boot"` // of the kernel: the times are of it
	Pins  map[string]kept `json:"pins"`
	Ended []Ended         `json:"ended,omitempty"`
}

// kept is what is kept of a pin.
type kept struct {
	Fence    int64             `json:"fence,omitempty"`
	Claim    *keptLease        `json:"claim,omitempty"`
	Act      *keptLease        `json:"actuation,omitempty"`
	Output   *float64          `json:"output,omitempty"`
	Settings map[string]string `json:"settings,omitempty"` // those of Set
	Seq      uint64            `json:"-"`                  // the newest of a pin that is away
}

// keptLease is a lease.
type keptLease struct {
	Holder   string   `json:"holder"`
	Name     string   `json:"name"`
	Priority int      `json:"priority,omitempty"`
	Fence    int64    `json:"fence,omitempty"`
	Until    int64    `json:"until"` // CLOCK_BOOTTIME, ns
	Tag      string   `json:"tag,omitempty"`
	Before   *float64 `json:"before,omitempty"`
}

// touch says that values, settings or leases changed.
func (j *journal) touch() {
	select {
	case j.dirty <- struct{}{}:
	default:
	}
}

// hurry says that a value for a time has ended: who is killed now must not do it again.
func (j *journal) hurry() {
	select {
	case j.haste <- struct{}{}:
	default:
	}
}

// bootTime is the kernel's boot, and the time since it, also while asleep.
func bootTime() (id string, since time.Duration) {
	text, _ := os.ReadFile("/proc/sys/kernel/random/boot_id") // without it each start counts as a boot
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) != nil {
		return "", 0
	}
	return strings.TrimSpace(string(text)), time.Duration(ts.Nano())
}

// sealedBook is the file.
type sealedBook struct {
	Sum  string          `json:"sha256"`
	Book json.RawMessage `json:"book"`
}

func sumOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// parseJournal reads a journal's file. What a hand, or a broken disk, made of it is an error.
func parseJournal(text []byte) (book, error) {
	var s sealedBook
	var b book
	if len(text) > maxJournal {
		return b, errors.New("it is too long")
	}
	if err := json.Unmarshal(text, &s); err != nil {
		return b, errors.New("it is not JSON")
	}
	if s.Sum != sumOf(s.Book) {
		return b, errors.New("its checksum does not match")
	}
	if json.Unmarshal(s.Book, &b) != nil || len(b.Pins) > maxKept || len(b.Ended) > maxEnded {
		return book{}, errors.New("its content is not understood")
	}
	for name, k := range b.Pins {
		if s4t.ValidPinName(name) != nil {
			return book{}, errors.New("it has a pin without a name")
		}
		for _, l := range []*keptLease{k.Claim, k.Act} {
			if l != nil && (l.Priority < 0 || l.Priority > s4t.MaxPriority || l.Holder == "") {
				return book{}, errors.New("it has a lease of nobody")
			}
		}
		for key, value := range k.Settings {
			if _, err := checkSetting(key, value); err != nil {
				return book{}, errors.New("it has a setting that does not exist")
			}
		}
	}
	return b, nil
}

// load reads the journal. A damaged one is begun anew, and that is told.
func (j *journal) load() (book, string) {
	empty := book{Pins: map[string]kept{}}
	if j.dir == "" {
		return empty, ""
	}
	for _, half := range j.halves() {
		os.Remove(half) // what cannot be removed stays
	}
	f, err := os.Open(filepath.Join(j.dir, journalFile))
	if errors.Is(err, fs.ErrNotExist) {
		return empty, ""
	}
	var text []byte
	if err == nil {
		text, err = io.ReadAll(io.LimitReader(f, maxJournal+1))
		f.Close()
	}
	var b book
	if err == nil {
		b, err = parseJournal(text)
	}
	if err != nil {
		return empty, "the journal of the pins was damaged (" + err.Error() + ") and was begun anew: claims, settings and outputs are as on a new board"
	}
	if b.Pins == nil {
		b.Pins = empty.Pins
	}
	j.last = text
	return b, ""
}

// halves are files that a process was writing when it was killed.
func (j *journal) halves() []string {
	list, _ := filepath.Glob(filepath.Join(j.dir, "."+journalFile+".*")) // fails for a malformed pattern only
	return list
}

// store writes the journal where it changed, in one step, and has it on disk when it
// returns. Caller holds mu.
func (j *journal) store(b book) error {
	inner, err := json.Marshal(b)
	if err != nil {
		return err
	}
	text, err := json.Marshal(sealedBook{sumOf(inner), inner})
	if err != nil || bytes.Equal(text, j.last) {
		return err
	}
	f, err := os.CreateTemp(j.dir, "."+journalFile+".*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // there is nothing to remove after the rename
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(j.dir, journalFile))
	}
	if err != nil {
		return err
	}
	j.last = text
	if dir, err := os.Open(j.dir); err == nil {
		dir.Sync() // best effort: not every file system can
		dir.Close()
	}
	return nil
}

// save writes what is now. A disk that does not take it is a problem that is told; the
// pins work on.
func (h *HAL) save() {
	j := &h.journal
	if j.dir == "" {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	problem := ""
	if err := j.store(h.book()); err != nil {
		problem = "claims and outputs of the pins cannot be kept for a restart: " + err.Error()
	}
	h.mu.Lock()
	j.problem = problem
	h.mu.Unlock()
}

// keep writes the journal when it is touched, until ctx ends.
func (h *HAL) keep(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.journal.dirty:
		case <-h.journal.haste:
		}
		h.save()
		pause := time.After(journalPause)
		for paused := false; !paused; {
			select {
			case <-ctx.Done():
				return
			case <-h.journal.haste:
				h.save()
			case <-pause:
				paused = true
			}
		}
	}
}

// book is what is to be kept now. What did not change is the same text: it is not written
// again. Caller holds journal.mu.
func (h *HAL) book() book {
	boot, since := h.boot()
	toBoot := since - h.timers.now()
	if (toBoot - h.journal.toBoot).Abs() < clockStep {
		toBoot = h.journal.toBoot
	}
	h.journal.toBoot = toBoot
	lease := func(l *lease) *keptLease {
		if l == nil {
			return nil
		}
		k := &keptLease{Holder: l.holder, Name: l.name, Priority: l.priority, Fence: l.fence, Until: int64(l.until + toBoot), Tag: l.tag}
		if l.before != nil && l.before.known {
			before := l.before.value
			k.Before = &before
		}
		return k
	}
	b := book{Boot: boot, Pins: map[string]kept{}}
	h.mu.Lock()
	for name, k := range h.away {
		b.Pins[name] = *k
	}
	list := h.list
	for _, p := range list {
		b.Pins[p.name] = kept{Settings: h.set[p.name]}
	}
	h.mu.Unlock()
	h.orders.Lock()
	defer h.orders.Unlock()
	for _, p := range list {
		k := b.Pins[p.name]
		k.Fence, k.Claim, k.Act = p.seat.fence, lease(p.seat.claim), lease(p.seat.act)
		if p.output != nil {
			v := *p.output
			k.Output = &v
		}
		if k.Fence == 0 && k.Claim == nil && k.Act == nil && k.Output == nil && len(k.Settings) == 0 {
			delete(b.Pins, p.name)
			continue
		}
		b.Pins[p.name] = k
	}
	b.Ended = append([]Ended(nil), h.ended...)
	return b
}
