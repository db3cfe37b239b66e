package journal

import (
	"bufio"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// load reads the file into an empty journal. Caller holds mu.
func (j *Journal) load() {
	f, err := os.OpenFile(j.cfg.Path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		j.fail(j.rewrite())
		return
	}
	if err != nil {
		f, err = os.Open(j.cfg.Path) // what is there can be told all the same
	}
	var d damage
	if err == nil {
		j.use(f)
		d, err = scan(f, j.replay)
	}
	if err != nil || d.lines > 0 {
		j.lost = true
		j.cfg.Log.Error("the journal of commands is damaged; what became of some runs is not known", "file", j.cfg.Path, "lines", d.lines, "err", err)
	}
	if d.torn {
		j.cfg.Log.Info("the journal of commands ends within a line, which is cut off", "file", j.cfg.Path)
	}
	slices.SortStableFunc(j.unheard, func(a, b *entry) int { return a.state.EndedAt.Compare(b.state.EndedAt) })
	j.breakOff()
	j.fail(j.rewrite())
}

// breakOff ends what an earlier life left open. Caller holds mu.
func (j *Journal) breakOff() {
	now := j.cfg.Now().UTC()
	var open []*entry
	for _, e := range j.runs {
		if !e.state.Status.Ended() {
			open = append(open, e)
		}
	}
	slices.SortFunc(open, func(a, b *entry) int { return a.state.AcceptedAt.Compare(b.state.AcceptedAt) })
	for _, e := range open {
		if e.state.Status == s4t.OperationStarted {
			e.state.Status, e.state.Error, e.state.ErrorKind = s4t.OperationFailed, brokenOff, s4t.Internal
		} else {
			e.state.Status = s4t.OperationExpired
		}
		e.state.EndedAt = now
		if now.Before(e.state.AcceptedAt) { // a board's own clock may say 1970
			e.state.EndedAt = e.state.AcceptedAt
		}
		j.unheard = append(j.unheard, e)
	}
	j.open = 0
}

// replay takes one record of the file. What is not there any more, or twice, is
// taken as it makes sense: a line may have been damaged.
func (j *Journal) replay(r record, at int64, size int) {
	if r.Do == doHeard {
		for _, id := range r.IDs {
			if e := j.runs[id]; e != nil && e.state.Status.Ended() && !e.heard {
				j.hear(e)
			}
		}
		j.unheard = slices.DeleteFunc(j.unheard, func(e *entry) bool { return e.heard })
		return
	}
	e := j.runs[r.State.ID]
	if e == nil {
		key := r.Key
		if key == "" { // its begin was damaged
			key = string(r.State.ID)
		}
		if j.keys[key] != nil {
			return
		}
		e = &entry{key: key, state: wire.RunState{ID: r.State.ID}}
		j.runs[r.State.ID], j.keys[key] = e, e
	}
	if e.state.Status.Ended() {
		return
	}
	e.size += int64(size)
	j.bytes += int64(size)
	e.state = *r.State
	if r.Do != doEnd {
		return
	}
	e.state.Result, e.at, e.end = nil, at, size
	if r.Heard {
		j.hear(e)
	} else {
		j.unheard = append(j.unheard, e)
	}
}

// use makes f the file. Caller holds mu.
func (j *Journal) use(f *os.File) {
	if j.file != nil {
		j.file.Close()
	}
	j.file, j.size, j.synced = f, 0, 0
	j.files++
}

// fail notes that the file has not all that is known; nil: that it has. Caller holds mu.
func (j *Journal) fail(err error) {
	if err != nil && j.broken == nil {
		j.cfg.Log.Error("the journal of commands cannot be written; no command begins", "err", err)
	}
	j.broken = err
}

// write appends a record of an entry and returns its size: 0 where it could not be
// written. Caller holds mu.
func (j *Journal) write(e *entry, r record) int {
	if j.broken != nil {
		return 0
	}
	line := r.encode(nil)
	if _, err := j.file.WriteAt(line, j.size); err != nil {
		j.fail(err)
		return 0
	}
	j.size += int64(len(line))
	if e != nil {
		e.size += int64(len(line))
		j.bytes += int64(len(line))
	}
	return len(line)
}

// mend writes the file anew where it lacks something, or has much that is not needed
// any more. Caller holds mu.
func (j *Journal) mend() error {
	if j.broken == nil && j.size < max(minRewrite, 2*(j.bytes+j.kept)) {
		return nil
	}
	err := j.rewrite()
	if err != nil && j.broken == nil && j.size < 2*max(minRewrite, 2*(j.bytes+j.kept)) {
		return nil // the disk is full, perhaps, and it is not urgent
	}
	j.fail(err)
	return err
}

// commit waits until the first size bytes of the file that was the files-th are on the
// disk. Who comes while another waits for the disk waits for the next turn, with all
// others who do.
func (j *Journal) commit(files int, size int64) error {
	j.syncing.Lock()
	defer j.syncing.Unlock()
	j.mu.Lock()
	f, to, broken := j.file, j.size, j.broken
	done := f == nil || files != j.files || size <= j.synced // a file that is written anew is on the disk
	j.mu.Unlock()
	if broken != nil {
		return broken
	}
	if done {
		return nil
	}
	err := j.cfg.Sync(f)
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case files != j.files: // it was written anew meanwhile
		return nil
	case err != nil:
		j.fail(err)
		return err
	}
	j.synced = to
	return nil
}

// soon has what was written put on the disk after a moment, with what else comes.
// Caller holds mu.
func (j *Journal) soon() {
	if j.flush == nil {
		j.flush = time.AfterFunc(syncDelay, func() {
			j.mu.Lock()
			j.flush = nil
			closed, files, size := j.file == nil, j.files, j.size
			j.mu.Unlock()
			if !closed {
				j.commit(files, size) // an error is kept, and told
			}
		})
	}
}

// whole returns the state of an entry with its result. Caller holds mu.
func (j *Journal) whole(e *entry) wire.RunState {
	st := e.state
	if e.end == 0 || e.heard || st.Status != s4t.OperationSucceeded {
		return st
	}
	line := make([]byte, e.end)
	if _, err := j.file.ReadAt(line, e.at); err == nil {
		if r, err := decode(line[:len(line)-1]); err == nil && r.State != nil && r.State.ID == st.ID {
			return *r.State
		}
	}
	st.Status, st.Error, st.ErrorKind = s4t.OperationFailed, lostEnd, s4t.Internal
	return st
}

// rewrite replaces the file by one that has what is needed, which is on the disk when
// it returns. Caller holds mu.
func (j *Journal) rewrite() error {
	f, err := os.CreateTemp(filepath.Dir(j.cfg.Path), "."+filepath.Base(j.cfg.Path)+".*") // mode 0600
	if err != nil {
		return err
	}
	type place struct {
		at   int64
		end  int
		size int64
	}
	places := make(map[*entry]place, len(j.runs))
	out := bufio.NewWriterSize(f, 64<<10)
	size := int64(0)
	for _, e := range j.inOrder() {
		st := j.whole(e)
		r := record{Do: doBegin, Key: e.key, State: &st}
		if st.Status.Ended() {
			r.Do, r.Heard = doEnd, e.heard
		}
		line := r.encode(nil)
		p := place{at: size, size: int64(len(line))}
		if r.Do == doEnd {
			p.end = len(line)
		}
		places[e] = p
		size += p.size
		out.Write(line) // an error stays until Flush
	}
	if err = out.Flush(); err == nil {
		err = j.cfg.Sync(f)
	}
	if err == nil {
		err = os.Rename(f.Name(), j.cfg.Path)
	}
	if err != nil {
		f.Close()
		os.Remove(f.Name())
		return err
	}
	if dir, err := os.Open(filepath.Dir(j.cfg.Path)); err == nil {
		j.cfg.Sync(dir) // best effort: not every file system can
		dir.Close()
	}
	j.use(f)
	j.size, j.synced, j.bytes, j.kept = size, size, 0, 0
	for e, p := range places {
		e.at, e.end, e.size = p.at, p.end, p.size
		if e.state.Status.Ended() {
			e.state.Result = nil
		}
		if e.heard {
			j.kept += p.size
		} else {
			j.bytes += p.size
		}
	}
	return nil
}

// inOrder are the entries: those that are heard, those that have ended, those that
// have not. Caller holds mu.
func (j *Journal) inOrder() []*entry {
	all := append(slices.Clone(j.heard), j.unheard...)
	for _, e := range j.runs {
		if !e.state.Status.Ended() {
			all = append(all, e)
		}
	}
	return all
}
