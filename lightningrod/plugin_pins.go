package lightningrod

import (
	"context"
	"log/slog"
	"path"
	"sync"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/hal"
	"github.com/stack4things/s4t/pinfs"
)

// pluginPins is the source of a tree of the pins that a plugin asked for and may have:
// those that the owner lets the cloud see, and no others. The files are its own.
type pluginPins struct {
	hal   *hal.HAL
	name  string   // of the plugin
	globs []string // names or globs of pins, as its manifest has them
	uid   uint32

	mu   sync.Mutex // guards tree
	tree pinfs.Tree
}

// Tree implements [pinfs.Source].
func (s *pluginPins) Tree() pinfs.Tree {
	s.mu.Lock()
	defer s.mu.Unlock()
	revision := s.hal.Revision()
	if revision == s.tree.Revision && len(s.tree.Boards) > 0 {
		return s.tree
	}
	nodes := []pinfs.Node{}
	for _, p := range s.hal.Pins() {
		if !s.may(p) {
			continue
		}
		n := pinfs.Node{Pin: p, Mode: 0o600, UID: s.uid, GID: s.uid}
		if s.hal.Cloud(p.Name) != hal.CloudWrite || !p.Writable {
			n.Mode = 0o400
		}
		nodes = append(nodes, n)
	}
	s.tree = pinfs.Tree{Revision: revision, Boards: []pinfs.Board{{Pins: nodes, Online: true}}}
	return s.tree
}

// may says whether the plugin has a pin.
func (s *pluginPins) may(p s4t.Pin) bool {
	if s.hal.Cloud(p.Name) == hal.CloudNone {
		return false
	}
	for _, glob := range s.globs {
		if ok, _ := path.Match(glob, p.Name); ok {
			return true
		}
		if ok, _ := path.Match(glob, "by-name/"+p.Label); ok && p.Label != "" {
			return true
		}
	}
	return false
}

// Changed implements [pinfs.Source].
func (s *pluginPins) Changed() <-chan struct{} { return s.hal.Changed() }

// find finds a pin that the plugin has.
func (s *pluginPins) find(name string) (*hal.Pin, error) {
	pin, err := s.hal.Pin(name)
	if err == nil && !s.may(pin.Info()) {
		err = s4t.Errorf(s4t.NotFound, "find pin "+s4t.Line(name, s4t.MaxName), "name it in pins of the plugin's manifest", "the plugin has no such pin")
	}
	return pin, err
}

// writable says whether the owner lets the cloud, and so a plugin, change a pin.
func (s *pluginPins) writable(name string) error {
	if may := s.hal.Cloud(name); may != hal.CloudWrite {
		return s4t.Errorf(s4t.Forbidden, "change pin "+name, "", "the owner of the board lets plugins only %s it", may)
	}
	return nil
}

// Open implements [pinfs.Source].
func (s *pluginPins) Open(_, name string, _ pinfs.Holder) pinfs.Pin {
	pin, err := s.find(name)
	if err != nil {
		return gonePin{err}
	}
	return &pluginPin{localPin: localPin{pin: pin, holder: "plugin:" + s.name, holderName: "plugin " + s.name}, of: s}
}

// Set implements [pinfs.Source].
func (s *pluginPins) Set(ctx context.Context, _, name, key, value string, _ pinfs.Holder) error {
	pin, err := s.find(name)
	if err == nil {
		err = s.writable(pin.Info().Name)
	}
	if err != nil {
		return err
	}
	return pin.Set(ctx, map[string]string{key: value})
}

// pluginPin is a pin in use by one open file of a plugin.
type pluginPin struct {
	localPin
	of *pluginPins
}

func (p *pluginPin) Write(ctx context.Context, value float64, fence int64) (held int64, err error) {
	if err := p.of.writable(p.pin.Info().Name); err != nil {
		return 0, err
	}
	return p.localPin.Write(ctx, value, fence)
}

// showPluginPins mounts a plugin's tree at dir, and serves it until end is called.
func showPluginPins(dir string, source *pluginPins, log *slog.Logger) (end func(), err error) {
	m, err := pinfs.Mount(pinfs.Config{Dir: dir, Source: source, Name: "s4t", Log: log})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := m.Serve(ctx); err != nil {
			log.Warn("the pins of a plugin are not shown as files any more", "plugin", source.name, "err", err)
		}
	}()
	return func() { cancel(); <-done }, nil
}
