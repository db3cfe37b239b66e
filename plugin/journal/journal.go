package journal

import (
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// Bounds of what is kept.
const (
	MaxKept    = 10_000   // runs that the cloud has heard of, kept for their IDs and keys
	MaxUnheard = 16 << 20 // bytes in the file of runs that the cloud has not heard of; runs that have begun may exceed it

	maxKey     = 36 + 1 + s4t.MaxKey // bytes: project, colon, the caller's
	maxForgone = 10_000              // runs that were told as never begun
	minRewrite = 1 << 20             // bytes of a file below which it is not worth it
	keptSize   = 512                 // about the bytes of a run that is kept
	syncDelay  = 200 * time.Millisecond
)

// What is told of a run whose end is not known.
const (
	brokenOff = "lightning-rod ended while it ran; it may have been done in part"
	notKnown  = "the journal of the board was damaged: whether it ran is not known"
	lostEnd   = "the journal of the board was damaged: it ended, and how is not known"
)

// Config configures a [Journal].
type Config struct {
	Path string                 // required: the file; its folder is there
	Now  func() time.Time       // optional: the cloud's clock; default the machine's
	Sync func(f *os.File) error // optional: puts what was written on the disk; default fdatasync(2)
	Log  *slog.Logger           // optional
}

// Journal is a file of runs. Its methods may be used from several goroutines.
type Journal struct {
	cfg Config

	syncing sync.Mutex // held while the disk is waited for; taken before mu

	mu      sync.Mutex // guards what follows
	file    *os.File   // nil: closed, or never opened
	size    int64      // of the file: whole records
	files   int        // counts the files that were opened
	synced  int64      // bytes of the file that are on the disk
	broken  error      // the file has not all that is known: it is written anew before a run begins
	lost    bool       // something was read that is not known any more
	flush   *time.Timer
	runs    map[s4t.OperationID]*entry
	keys    map[string]*entry
	unheard []*entry // that have ended, by when
	heard   []*entry // by when they ended
	open    int
	bytes   int64 // in the file, of runs that are not heard
	kept    int64 // in the file, of those that are
	forgone map[s4t.OperationID]bool
	order   []s4t.OperationID // of forgone, oldest first
}

// entry is a run.
type entry struct {
	key   string
	state wire.RunState // without the result, but where it is not in the file
	at    int64         // where the record of its end is
	end   int           // bytes of that; 0: it is not in the file
	size  int64         // bytes in the file, of all its records
	heard bool
}

// Open reads the journal, or makes one. Runs of an earlier life that had begun have
// failed, those that waited have expired. It does not fail: a journal that cannot be
// read or written says so in [Journal.Problem], and begins no run.
func Open(cfg Config) *Journal {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Sync == nil {
		cfg.Sync = fdatasync
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	j := &Journal{cfg: cfg, runs: map[s4t.OperationID]*entry{}, keys: map[string]*entry{}, forgone: map[s4t.OperationID]bool{}}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.load()
	return j
}

// Close puts what was written on the disk. No other method is called after it.
func (j *Journal) Close() error {
	j.syncing.Lock()
	defer j.syncing.Unlock()
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.flush != nil {
		j.flush.Stop()
	}
	if j.file == nil {
		return nil
	}
	err := j.cfg.Sync(j.file)
	if cerr := j.file.Close(); err == nil {
		err = cerr
	}
	j.file = nil
	return err
}

// Begin notes a run, accepted or, where start is set, started. fresh reports that it
// is new: it is on the disk. Of one that is known by its ID or its key it returns how
// that is, with its result, on the disk too; that may have another ID.
//
// It fails where the journal cannot be written, and with [s4t.TooMany] where too many
// results wait for the cloud.
func (j *Journal) Begin(run wire.Run, start bool) (state wire.RunState, fresh bool, err error) {
	const op = "begin a command"
	if run.ID == "" || len(run.ID) > s4t.MaxName || run.Key == "" || len(run.Key) > maxKey {
		return state, false, s4t.Errorf(s4t.Invalid, op, "", "it has no ID, or a key of more than %d bytes", s4t.MaxKey)
	}
	j.mu.Lock()
	j.forget()
	now := j.cfg.Now().UTC()
	known := j.runs[run.ID]
	if known == nil {
		known = j.keys[run.Key]
	}
	switch {
	case known != nil:
		state = j.whole(known)
	case j.forgone[run.ID]:
		j.mu.Unlock()
		return wire.RunState{ID: run.ID, Status: s4t.OperationExpired, AcceptedAt: now, EndedAt: now}, false, nil
	case j.bytes >= MaxUnheard:
		j.mu.Unlock()
		return state, false, s4t.Errorf(s4t.TooMany, op, "try again when the board has told the cloud", "results that the cloud has not heard of fill the journal of the board")
	default:
		if err := j.mend(); err != nil {
			j.mu.Unlock()
			return state, false, s4t.Errorf(s4t.Unavailable, op, "see `lightning-rod status` on the board", "its journal cannot be written: %w", err)
		}
		state, fresh = wire.RunState{ID: run.ID, Status: s4t.OperationAccepted, AcceptedAt: now}, true
		if start {
			state.Status, state.StartedAt = s4t.OperationStarted, now
		}
		e := &entry{key: run.Key, state: state}
		j.runs[run.ID], j.keys[run.Key] = e, e
		j.open++
		j.write(e, record{Do: doBegin, Key: run.Key, State: &state})
	}
	files, size := j.files, j.size
	j.mu.Unlock()
	if err := j.commit(files, size); err != nil {
		if fresh {
			j.withdraw(run.ID, err)
		}
		return state, false, s4t.Errorf(s4t.Unavailable, op, "see `lightning-rod status` on the board", "its journal cannot be written: %w", err)
	}
	return state, fresh, nil
}

// Start notes that an accepted run begins now: it is on the disk when Start returns.
// An error means that it does not begin.
func (j *Journal) Start(id s4t.OperationID) error {
	j.mu.Lock()
	e := j.runs[id]
	if e == nil || e.state.Status != s4t.OperationAccepted {
		j.mu.Unlock()
		return s4t.Errorf(s4t.Internal, "begin a command", "", "it was not accepted")
	}
	started := e.state
	started.Status, started.StartedAt = s4t.OperationStarted, j.cfg.Now().UTC()
	e.state = started
	j.write(e, record{Do: doStart, State: &started})
	files, size := j.files, j.size
	j.mu.Unlock()
	return j.commit(files, size)
}

// End notes how a run ended and returns all that is known of it. The result is not
// lost from then on while the machine runs, and soon not without power either.
func (j *Journal) End(id s4t.OperationID, end wire.RunState) wire.RunState {
	j.mu.Lock()
	defer j.mu.Unlock()
	e := j.runs[id]
	if e == nil || e.state.Status.Ended() {
		return end
	}
	end.ID, end.AcceptedAt, end.StartedAt, end.EndedAt = id, e.state.AcceptedAt, e.state.StartedAt, j.cfg.Now().UTC()
	e.state = end
	j.open--
	j.unheard = append(j.unheard, e)
	at := j.size
	if n := j.write(e, record{Do: doEnd, State: &end}); n > 0 {
		e.at, e.end, e.state.Result = at, n, nil
	}
	j.soon()
	return end
}

// Heard notes that the cloud knows how runs ended. It forgets their results.
func (j *Journal) Heard(ids ...s4t.OperationID) {
	j.mu.Lock()
	defer j.mu.Unlock()
	var now []s4t.OperationID
	for _, id := range ids {
		if e := j.runs[id]; e != nil && e.state.Status.Ended() && !e.heard {
			j.hear(e)
			now = append(now, id)
		}
	}
	for some := range slices.Chunk(now, maxHeard) {
		j.write(nil, record{Do: doHeard, IDs: some})
	}
	j.unheard = slices.DeleteFunc(j.unheard, func(e *entry) bool { return e.heard })
	if len(now) > 0 {
		j.forget()
		j.soon()
	}
}

// hear moves an entry to those that are heard. Caller holds mu, and clears unheard.
func (j *Journal) hear(e *entry) {
	e.heard, e.state.Result = true, nil
	j.bytes -= e.size
	e.size = min(e.size, keptSize) // its result is not written again
	j.kept += e.size
	j.heard = append(j.heard, e)
}

// Unheard returns runs that have ended and that the cloud has not heard of, without
// their results, oldest first.
func (j *Journal) Unheard(limit int) []wire.RunState {
	j.mu.Lock()
	defer j.mu.Unlock()
	out := make([]wire.RunState, 0, min(limit, len(j.unheard)))
	for _, e := range j.unheard[:cap(out)] {
		st := e.state
		st.Result = nil
		out = append(out, st)
	}
	return out
}

// States returns how runs are, with their results, as far as the cloud has not heard
// of them. Those that are not known have never begun, and from now on never will.
func (j *Journal) States(ids []s4t.OperationID) (known []wire.RunState, unknown []s4t.OperationID) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, id := range ids {
		if e := j.runs[id]; e != nil {
			known = append(known, j.whole(e))
			continue
		}
		if !j.forgone[id] {
			j.forgone[id] = true
			j.order = append(j.order, id)
			if len(j.order) > maxForgone {
				delete(j.forgone, j.order[0])
				j.order = j.order[1:]
			}
		}
		if j.lost {
			known = append(known, wire.RunState{ID: id, Status: s4t.OperationFailed, EndedAt: j.cfg.Now().UTC(), Error: notKnown, ErrorKind: s4t.Internal})
		} else {
			unknown = append(unknown, id)
		}
	}
	return known, unknown
}

// Find returns how a run is that is known by its ID or, unless that is empty, its key.
func (j *Journal) Find(id s4t.OperationID, key string) (st wire.RunState, known bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	e := j.runs[id]
	if e == nil && key != "" {
		e = j.keys[key]
	}
	if e == nil {
		return st, false
	}
	return j.whole(e), true
}

// Count returns how many runs have not ended, and how many ended that the cloud has
// not heard of.
func (j *Journal) Count() (open, unheard int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.open, len(j.unheard)
}

// Problem is why no run begins; empty: they do.
func (j *Journal) Problem() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.broken == nil {
		return ""
	}
	return "commands are refused: their journal " + j.cfg.Path + " cannot be written: " + j.broken.Error()
}

func fdatasync(f *os.File) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	if cerr := conn.Control(func(fd uintptr) { err = unix.Fdatasync(int(fd)) }); cerr != nil {
		return cerr
	}
	return err
}

// withdraw forgets a run whose begin is not on the disk. The file is written anew
// without it before another run begins.
func (j *Journal) withdraw(id s4t.OperationID, why error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.broken == nil { // it was written anew meanwhile, with the run
		j.fail(why)
	}
	if e := j.runs[id]; e != nil {
		j.open--
		j.drop(e)
		j.bytes -= e.size
	}
}

// drop takes an entry out of the indexes. Caller holds mu.
func (j *Journal) drop(e *entry) {
	delete(j.runs, e.state.ID)
	delete(j.keys, e.key)
}

// forget drops what was heard and is old, or too much. Caller holds mu.
func (j *Journal) forget() {
	old := j.cfg.Now().Add(-s4t.KeyLifetime)
	n := 0
	for n < len(j.heard) && (len(j.heard)-n > MaxKept || j.heard[n].state.EndedAt.Before(old)) {
		j.drop(j.heard[n])
		j.kept -= j.heard[n].size
		j.heard[n] = nil
		n++
	}
	j.heard = j.heard[n:]
}
