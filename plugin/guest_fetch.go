package plugin

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"time"

	"golang.org/x/sys/unix"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/plugin/bundle"
)

const (
	stateFile    = "state.json"
	partFile     = "bundle.part." // and of which, the first half of a digest
	maxStateFile = 16 << 10       // bytes

	firstUser = 60_000_001 // of guests: far from those of people, and of the subordinate ids of containers
	lastUser  = 60_099_999
)

// kept is what is known of a plugin after a restart: state.json in its folder.
type kept struct {
	UID     int        `json:"uid,omitempty"`
	Current *installed `json:"current,omitempty"` // what is run
	Before  *installed `json:"before,omitempty"`  // what is gone back to, until Current is well
	Bad     *bad       `json:"bad,omitempty"`
	Begun   bool       `json:"begun,omitempty"`   // it has been started
	Started int64      `json:"started,omitempty"` // Wanted.Start of the newest start
	Done    bool       `json:"done,omitempty"`    // of a job
}

// installed is a bundle that is unpacked.
type installed struct {
	Version  string          `json:"version"`
	Digest   string          `json:"digest"`
	Folder   string          `json:"folder"`
	Manifest bundle.Manifest `json:"-"`
}

// folderOf is where a bundle is unpacked, in the folder of its plugin.
func folderOf(version, digest string) string { return version + "-" + digest[:8] }

// bad is a version that did not become healthy. It is not tried again until something
// else is wanted.
type bad struct {
	Digest string `json:"digest"`
	Start  int64  `json:"start"`
	Why    string `json:"why"`
}

// loading is a bundle on its way. Its goroutine ends with one value on result.
type loading struct {
	want   Wanted
	cancel context.CancelFunc
	result chan loaded // 1
}

// loaded is how it went: an error that stays is the bundle's own.
type loaded struct {
	in    *installed
	err   error
	stays bool
}

func (g *guest) loaded() <-chan loaded {
	if g.load == nil {
		return nil
	}
	return g.load.result
}

// loading begins to fetch what is wanted.
func (g *guest) loading(ctx context.Context, w Wanted) {
	ctx, cancel := context.WithCancel(ctx)
	l := &loading{want: w, cancel: cancel, result: make(chan loaded, 1)}
	g.load = l
	go func() {
		defer cancel()
		in, stays, err := g.get(ctx, w)
		g.fetched.Store(0)
		l.result <- loaded{in: in, err: err, stays: stays}
	}()
}

// cancelLoad ends what is on its way, and waits for its goroutine.
func (g *guest) cancelLoad() {
	if g.load != nil {
		g.load.cancel()
		<-g.load.result
		g.load = nil
	}
}

// get fetches, checks and unpacks a bundle. stays says that another try will not help.
func (g *guest) get(ctx context.Context, w Wanted) (in *installed, stays bool, err error) {
	path := filepath.Join(g.dir, partFile+w.Digest[:16])
	if others, err := filepath.Glob(filepath.Join(g.dir, partFile+"*")); err == nil {
		for _, other := range others {
			if other != path {
				os.Remove(other)
			}
		}
	}
	for again := false; ; again = true {
		err := g.getPart(ctx, w, path)
		if errors.Is(err, errOther) && !again {
			continue // what was there was damaged: from the beginning, once
		}
		if err != nil {
			return nil, errors.Is(err, errOther), err
		}
		break
	}
	defer os.Remove(path)
	in = &installed{Version: w.Version, Digest: w.Digest, Folder: folderOf(w.Version, w.Digest)}
	tmp, end := filepath.Join(g.dir, "unpack.tmp"), filepath.Join(g.dir, in.Folder)
	if err := errors.Join(os.RemoveAll(tmp), os.Mkdir(tmp, 0o755), os.Chmod(tmp, 0o755)); err != nil {
		return nil, false, fmt.Errorf("unpack the bundle: %w", err)
	}
	defer os.RemoveAll(tmp)
	f, err := os.Open(path)
	if err != nil {
		return nil, false, err
	}
	defer f.Close()
	limit := int64(s4t.MaxBundleUnpacked)
	if all, given := g.m.disk(); given > 0 {
		if limit = min(limit, given-all); limit <= 0 {
			return nil, true, s4t.Errorf(s4t.TooMany, "unpack the bundle", "remove plugins, or ask the owner of the board", "plugins keep all %d bytes that the board's owner gives", given)
		}
	}
	if in.Manifest, err = bundle.Unpack(f, tmp, limit); err != nil {
		return nil, !errors.Is(err, unix.ENOSPC) && s4t.KindOf(err) == s4t.Invalid, err
	}
	if err := g.fits(in.Manifest); err != nil {
		return nil, true, err
	}
	syncDisk(tmp) // before its name says that it is whole
	if err := errors.Join(os.RemoveAll(end), os.Rename(tmp, end)); err != nil {
		return nil, false, fmt.Errorf("unpack the bundle: %w", err)
	}
	return in, false, nil
}

// errOther is in the error of a part file that is whole, and not the bundle.
var errOther = errors.New("what came is not the bundle: its checksum is another")

// getPart fetches a bundle into path, from where it stopped.
func (g *guest) getPart(ctx context.Context, w Wanted, path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("keep the bundle: %w", err)
	}
	defer f.Close()
	n, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return fmt.Errorf("keep the bundle: %w", err)
	}
	if n > w.Size {
		n = 0
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return err
		}
		if err := f.Truncate(0); err != nil {
			return err
		}
	}
	g.fetched.Store(n)
	if n < w.Size {
		if err := g.m.cfg.Fetch(ctx, w, f, g.fetched.Store); err != nil {
			return err
		}
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	sum := sha256.New()
	n, err = io.Copy(sum, io.LimitReader(f, w.Size+1))
	if err != nil {
		return fmt.Errorf("read the bundle: %w", err)
	}
	if n < w.Size {
		return fmt.Errorf("fetch the bundle: %d bytes of %d came", n, w.Size)
	}
	if hex.EncodeToString(sum.Sum(nil)) != w.Digest || n > w.Size {
		return errors.Join(errOther, os.Remove(path))
	}
	return nil
}

// fits says why a bundle cannot be run on this board.
func (g *guest) fits(m bundle.Manifest) error {
	if why, no := strings.CutPrefix(g.m.runtimes[string(m.Runtime)], "no: "); no {
		return fmt.Errorf("the board has no runtime %s: %s", m.Runtime, why)
	}
	return g.m.takenBy(g, m.Commands)
}

// install takes a bundle that has come.
func (g *guest) install(l loaded) {
	switch {
	case l.err != nil && l.stays:
		g.refused = l.err
		g.log.agent("it is not taken: %s", s4t.Line(l.err.Error(), maxLine))
		return
	case l.err != nil:
		g.loadErr = l.err
		g.loadWait = min(max(firstWait, 2*g.loadWait), lastWait)
		g.loadAt = time.Now().Add(g.loadWait)
		g.log.agent("its bundle is tried again in %s: %s", g.loadWait, s4t.Line(l.err.Error(), maxLine))
		return
	case l.in.Digest != g.seen.Digest: // something else is wanted meanwhile
		if c := g.kept.Current; c == nil || c.Folder != l.in.Folder {
			os.RemoveAll(filepath.Join(g.dir, l.in.Folder))
		}
		return
	}
	g.loadErr = nil
	g.log.agent("version %s is here", l.in.Version)
	g.stop("version " + l.in.Version + " takes its place")
	switch was := g.kept.Current; {
	case was == nil:
	case g.kept.Before == nil:
		g.kept.Before = was
	default: // it was on trial itself
		os.RemoveAll(filepath.Join(g.dir, was.Folder))
	}
	if b := g.kept.Before; b != nil && b.Digest == l.in.Digest {
		g.kept.Before = nil
	}
	g.kept.Current = l.in
	g.failed, g.unborn, g.backoff, g.startAt, g.kept.Done = "", "", 0, time.Time{}, false
	g.save()
	g.setCommands()
}

// setCommands lets others see which commands are taken.
func (g *guest) setCommands() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.has = nil; g.kept.Current != nil {
		g.has = g.kept.Current.Manifest.Commands
	}
}

// restore takes what an earlier lightning-rod left. What is damaged is left out: it is
// fetched again.
func (g *guest) restore() {
	text, err := readUpTo(filepath.Join(g.dir, stateFile), maxStateFile)
	if err == nil {
		g.kept, err = parseKept(text)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		g.m.cfg.Log.Warn("what was kept of a plugin is damaged: it is fetched again", "plugin", g.name(), "err", err)
	}
	g.kept.Current, g.kept.Before = g.whole(g.kept.Current), g.whole(g.kept.Before)
	if g.kept.Current == nil {
		g.kept.Current, g.kept.Before = g.kept.Before, nil
	}
	if g.m.root {
		g.kept.UID = g.m.user(g.id, g.kept.UID)
	} else {
		g.kept.UID = 0
	}
	g.save()
	g.setCommands()
	entries, _ := os.ReadDir(g.dir)
	for _, e := range entries {
		folders := []string{dataFolder, runFolder, boardFolder}
		for _, in := range []*installed{g.kept.Current, g.kept.Before} {
			if in != nil {
				folders = append(folders, in.Folder)
			}
		}
		if e.IsDir() && !slices.Contains(folders, e.Name()) {
			os.RemoveAll(filepath.Join(g.dir, e.Name()))
		}
	}
}

// whole returns an installed bundle with its manifest, nil where it is not whole.
func (g *guest) whole(in *installed) *installed {
	if in == nil {
		return nil
	}
	text, err := os.ReadFile(filepath.Join(g.dir, in.Folder, bundle.ManifestName))
	if err != nil {
		return nil
	}
	if in.Manifest, err = bundle.ParseManifest(text); err != nil {
		return nil
	}
	if _, err := os.Stat(filepath.Join(g.dir, in.Folder, in.Manifest.Entry[0])); err != nil {
		return nil
	}
	return in
}

// parseKept reads state.json.
func parseKept(text []byte) (k kept, err error) {
	if err := json.Unmarshal(text, &k); err != nil {
		return kept{}, err
	}
	for _, in := range []*installed{k.Current, k.Before} {
		if in == nil {
			continue
		}
		sum, err := hex.DecodeString(in.Digest)
		if err != nil || len(sum) != sha256.Size || !bundle.ValidVersion(in.Version) || in.Folder != folderOf(in.Version, in.Digest) {
			return kept{}, errors.New("it names no folder of a bundle")
		}
	}
	if k.UID != 0 && (k.UID < firstUser || k.UID > lastUser) {
		return kept{}, fmt.Errorf("its user %d is none of plugins", k.UID)
	}
	return k, nil
}

// save keeps what must be known after a restart. Where it cannot be kept, the plugin
// runs nevertheless.
func (g *guest) save() {
	text, err := json.Marshal(g.kept)
	if err == nil {
		err = replace(filepath.Join(g.dir, stateFile), text)
	}
	if err != nil {
		g.m.cfg.Log.Error("the state of a plugin cannot be kept", "plugin", g.name(), "err", err)
	}
}

// replace writes a file so that a power cut leaves the old one, or the new one.
func replace(path string, text []byte) error {
	f, err := os.OpenFile(path+".tmp", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(path+".tmp", path)
	}
	return err
}

// syncDisk writes the file system that has a folder to its disk.
func syncDisk(dir string) {
	if f, err := os.Open(dir); err == nil {
		_ = unix.Syncfs(int(f.Fd()))
		f.Close()
	}
}

// user returns the user of a plugin: the one it had, or one that no other has.
func (m *Manager) user(id string, had int) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	taken := map[int]bool{}
	for other, uid := range m.users {
		taken[uid] = other != id
	}
	// Another lightning-rod of this machine begins elsewhere: their guests do not share users.
	const users = lastUser - firstUser + 1
	sum := sha256.Sum256([]byte(m.cfg.Dir))
	first := int(binary.BigEndian.Uint32(sum[:]) % users)
	uid := had
	for n := 0; (uid == 0 || taken[uid]) && n < users; n++ {
		uid = firstUser + (first+n)%users
	}
	m.users[id] = uid
	return uid
}
