package lightningrod

import (
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// maxUses is how many projects' use of the board is told apart.
const maxUses = 64

// use is what a project has used of the board. The counters are added to by who uses.
type use struct {
	since    time.Time    // by the cloud's clock
	cpu      atomic.Int64 // nanoseconds
	memory   atomic.Int64 // bytes times seconds
	received atomic.Int64 // bytes
	sent     atomic.Int64
	samples  atomic.Int64
	commands atomic.Int64
}

// add adds what another has counted.
func (u *use) add(o *use) {
	u.cpu.Add(o.cpu.Load())
	u.memory.Add(o.memory.Load())
	u.received.Add(o.received.Load())
	u.sent.Add(o.sent.Load())
	u.samples.Add(o.samples.Load())
	u.commands.Add(o.commands.Load())
}

// usage counts what is used of the board, by project. The sums are kept in a file,
// see keep: a process that is killed loses those of the last minute.
type usage struct {
	dir     stateDir
	now     func() time.Time // the cloud's clock
	log     *slog.Logger
	current atomic.Pointer[use] // that of the board's own project

	mu      sync.Mutex    // guards the fields below
	project s4t.ProjectID // the board's own; empty: not known yet
	uses    map[s4t.ProjectID]*use
	written []byte // what the file holds
}

// newUsage reads what was counted before. A file that is damaged is begun anew.
func newUsage(dir stateDir, now func() time.Time, log *slog.Logger) *usage {
	u := &usage{dir: dir, now: now, log: log, uses: map[s4t.ProjectID]*use{}}
	list, text, err := dir.usage()
	if err != nil {
		log.Warn("what projects used of this board is counted anew", "err", err)
	}
	u.written = text
	for _, l := range list {
		u.uses[l.Project] = useOf(l)
	}
	u.belong("")
	return u
}

// usage reads the sums; none where there is no file.
func (d stateDir) usage() (list []s4t.Usage, text []byte, err error) {
	text, err = d.read(usageFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &list)
	}
	if err == nil && len(list) > maxUses+1 {
		err = errors.New("it names too many projects")
	}
	if err != nil {
		return nil, nil, d.failed("read", usageFile, err)
	}
	return list, text, nil
}

func useOf(l s4t.Usage) *use {
	u := &use{since: l.Since}
	u.cpu.Store(int64(max(l.CPUSeconds, 0) * float64(time.Second)))
	u.memory.Store(int64(max(l.MemoryHours, 0) * 3600))
	u.received.Store(max(l.BytesReceived, 0))
	u.sent.Store(max(l.BytesSent, 0))
	u.samples.Store(max(l.Samples, 0))
	u.commands.Store(max(l.Commands, 0))
	return u
}

// belong says which project the board is of. What was counted while that was not
// known is its.
func (u *usage) belong(project s4t.ProjectID) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if project == "" {
		project = u.project
	}
	own := u.find(project)
	if before := u.uses[""]; before != nil && project != "" {
		own.add(before)
		if before.since.Before(own.since) {
			own.since = before.since
		}
		delete(u.uses, "")
	}
	u.project = project
	u.current.Store(own)
}

// find returns the use of a project. u.mu is held.
func (u *usage) find(project s4t.ProjectID) *use {
	if of := u.uses[project]; of != nil {
		return of
	}
	if len(u.uses) >= maxUses && project != u.project { // nobody forgets what others used
		project = u.project
		if of := u.uses[project]; of != nil {
			return of
		}
	}
	of := &use{since: u.now().UTC()}
	u.uses[project] = of
	return of
}

// own is the use of the board's own project.
func (u *usage) own() *use { return u.current.Load() }

// of is the use of a project; empty is the board's own.
func (u *usage) of(project s4t.ProjectID) *use {
	if project == "" {
		return u.own()
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.find(project)
}

// list are the sums of now, by project.
func (u *usage) list() []s4t.Usage {
	u.mu.Lock()
	defer u.mu.Unlock()
	list := []s4t.Usage{}
	for project, of := range u.uses {
		l := s4t.Usage{
			Project: project, Since: of.since, CPUSeconds: time.Duration(of.cpu.Load()).Seconds(), MemoryHours: float64(of.memory.Load()) / 3600,
			BytesReceived: of.received.Load(), BytesSent: of.sent.Load(), Samples: of.samples.Load(), Commands: of.commands.Load(),
		}
		if l != (s4t.Usage{Project: project, Since: of.since}) {
			list = append(list, l)
		}
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Project < list[j].Project })
	return list
}

// keep writes the sums down, where they have changed.
func (u *usage) keep() {
	text := wire.Encode(u.list())
	u.mu.Lock()
	defer u.mu.Unlock()
	if string(text) == string(u.written) || string(text) == "[]" && u.written == nil {
		return
	}
	if err := u.dir.write(usageFile, text); err != nil {
		if !readOnlyError(err) { // told by itself
			u.log.Warn("what projects used of this board is not kept", "err", err)
		}
		return
	}
	u.written = text
}
