package lightningrod

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/fuse"
	"github.com/stack4things/s4t/hal"
	"github.com/stack4things/s4t/pinfs"
)

// DefaultIO is where the tree of a board's pins is.
const DefaultIO = runtimeDir + "/io"

// pinTree is the tree of the board's own pins.
type pinTree struct {
	dir    string // where it is to be; "": nowhere
	source *localPins
	note   func() // called when it is mounted
	log    *slog.Logger

	mu      sync.Mutex    // guards what follows
	mount   *pinfs.Server // nil: it is not mounted
	problem string        // why it is not
}

func newPinTree(dir string, h *hal.HAL, log *slog.Logger) *pinTree {
	return &pinTree{dir: dir, source: &localPins{hal: h}, note: func() {}, log: log}
}

// run shows the tree until ctx ends. Without it all else works: where it cannot be
// mounted, or somebody unmounts it, that is told and not tried again.
func (t *pinTree) run(ctx context.Context) {
	if t.dir == "" {
		return
	}
	err := showPins(ctx, t.dir, t.source, func(m *pinfs.Server) { t.note(); t.set(m, "") }, t.log)
	problem := ""
	if err != nil && ctx.Err() == nil {
		problem = err.Error() + "; all else works: only the files of the pins are not there"
		if s4t.KindOf(err) == s4t.Unavailable && os.Getenv("INVOCATION_ID") != "" { // systemd.exec(5)
			problem += ", which takes a unit made by `lightning-rod install --io " + t.dir + "`"
		}
		t.log.Warn("the pins are not shown as files", "err", err)
	}
	t.set(nil, problem)
}

func (t *pinTree) set(mount *pinfs.Server, problem string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mount, t.problem = mount, problem
}

// state is where the tree is, and why not where it should be.
func (t *pinTree) state() (dir, problem string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.mount == nil:
		return "", t.problem
	case !t.mount.Mounted(): // it is served until those who have a file open close it
		return "", errUnmounted.Error()
	}
	return t.dir, ""
}

// noteTree keeps where the tree is, for the day that lightning-rod is killed and the board leaves. A
// dead one elsewhere is unmounted.
func (d stateDir) noteTree(dir string, log *slog.Logger) {
	dir, err := filepath.Abs(dir)
	if err != nil || dir == d.tree() {
		return
	}
	d.clearTree(log)
	if err := d.write(treeFile, []byte(dir)); err != nil && !readOnlyError(err) {
		log.Warn("where the pins are shown as files is not kept: `lightning-rod leave` will not unmount them after a kill -9", "err", err)
	}
}

// tree is where the tree was last; empty: nowhere.
func (d stateDir) tree() string {
	dir, err := d.read(treeFile)
	if err != nil || !filepath.IsAbs(string(dir)) {
		return ""
	}
	return string(dir)
}

// clearTree unmounts the tree of a lightning-rod that was killed, and no other.
func (d stateDir) clearTree(log *slog.Logger) {
	dir := d.tree()
	if dir == "" {
		return
	}
	if err := fuse.Clear(dir); err != nil {
		log.Warn("the files of the pins stay mounted", "err", err)
	}
}

// errUnmounted says that somebody unmounted a tree.
var errUnmounted = errors.New("somebody unmounted the files of the pins; start it again to have them back")

// showPins mounts a tree and serves it until ctx ends, or somebody unmounts it. mounted
// is called when it is there.
func showPins(ctx context.Context, dir string, source pinfs.Source, mounted func(*pinfs.Server), log *slog.Logger) error {
	m, err := pinfs.Mount(pinfs.Config{Dir: dir, Source: source, Name: "s4t", Log: log})
	if err != nil {
		return err
	}
	mounted(m)
	if err := m.Serve(ctx); err != nil || ctx.Err() != nil {
		return err
	}
	return errUnmounted
}

// localPins is the source of the board's own tree.
type localPins struct {
	hal *hal.HAL

	mu   sync.Mutex // guards tree
	tree pinfs.Tree
}

// Tree returns the pins that are there.
func (l *localPins) Tree() pinfs.Tree {
	l.mu.Lock()
	defer l.mu.Unlock()
	revision := l.hal.Revision()
	if revision == l.tree.Revision && len(l.tree.Boards) > 0 {
		return l.tree
	}
	list := l.hal.Pins()
	nodes := make([]pinfs.Node, len(list))
	for i, p := range list {
		nodes[i].Pin = p
		nodes[i].Mode, nodes[i].UID, nodes[i].GID = l.hal.Access(p.Name)
	}
	l.tree = pinfs.Tree{Revision: revision, Boards: []pinfs.Board{{Pins: nodes, Online: true}}}
	return l.tree
}

// Changed is closed when Tree is another.
func (l *localPins) Changed() <-chan struct{} { return l.hal.Changed() }

// Open opens a pin for a file.
func (l *localPins) Open(_, name string, by pinfs.Holder) pinfs.Pin {
	pin, err := l.hal.Pin(name)
	if err != nil {
		return gonePin{err}
	}
	holder := localHolder(by)
	return &localPin{pin: pin, holder: holder, holderName: "local " + holder[len("local:"):]}
}

// Set changes a setting.
func (l *localPins) Set(ctx context.Context, _, name, key, value string, _ pinfs.Holder) error {
	pin, err := l.hal.Pin(name)
	if err != nil {
		return err
	}
	return pin.Set(ctx, map[string]string{key: value})
}

// localHolder is who a user of the board itself is.
func localHolder(by pinfs.Holder) string { return "local:" + strconv.FormatUint(uint64(by.UID), 10) }

// localPin is a pin in use by one open file.
type localPin struct {
	pin        *hal.Pin
	holder     string
	holderName string // for people
	cancel     func() // nil: it is not watched
}

func (p *localPin) Newest() (s4t.Sample, bool)                   { return p.pin.Newest() }
func (p *localPin) Last() (s4t.Sample, bool)                     { return p.pin.Last() }
func (p *localPin) Read(ctx context.Context) (s4t.Sample, error) { return p.pin.Read(ctx) }
func (p *localPin) Lease() *s4t.PinLease                         { return p.pin.Lease() }

func (p *localPin) Write(ctx context.Context, value float64, fence int64) (held int64, err error) {
	err = p.pin.Write(ctx, hal.Order{Value: value, Fence: fence, Holder: p.holder, HolderName: p.holderName})
	return 0, err // who writes through a file has no claim of its own
}

func (p *localPin) Watch(wake func()) {
	p.cancel = p.pin.Watch(func(s4t.Sample) { wake() })
}

func (p *localPin) Close() {
	if p.cancel != nil {
		p.cancel()
	}
}

// gonePin is a pin that is not there.
type gonePin struct{ err error }

func (p gonePin) Newest() (s4t.Sample, bool)               { return s4t.Sample{}, false }
func (p gonePin) Last() (s4t.Sample, bool)                 { return s4t.Sample{}, false }
func (p gonePin) Read(context.Context) (s4t.Sample, error) { return s4t.Sample{}, p.err }
func (p gonePin) Write(context.Context, float64, int64) (int64, error) {
	return 0, p.err
}
func (p gonePin) Watch(func())         {}
func (p gonePin) Lease() *s4t.PinLease { return nil }
func (p gonePin) Close()               {}
