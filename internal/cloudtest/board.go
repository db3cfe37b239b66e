package cloudtest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"sync"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/lease"
	"github.com/stack4things/s4t/lightningrod"
	"github.com/stack4things/s4t/link"
	"github.com/stack4things/s4t/vnet"
)

// Board is a real board but for its devices. Its methods are for one
// goroutine, but [Board.Devices], [Board.Say] and [Board.Hear].
type Board struct {
	Name     string
	Proxy    *Proxy
	IOConfig string // optional, before Start: the file with its pins; default: it has none

	Moment func() lease.Moment // optional, before Start: the clock by which its leases end; default the kernel's

	Guests *lightningrod.GuestsConfig // optional, before Start: plugins run on it; default: none do

	state string
	stop  func() // nil while it does not run

	mu      sync.Mutex // guards the fields below
	devices map[string]*device
	heard   func(device string, frame []byte)
}

// Enrol joins a board under a join string, and does not start it.
func (c *Cloud) Enrol(ctx context.Context, b s4t.Board) (*Board, error) {
	proxy, err := newProxy(c.Dial)
	if err != nil {
		return nil, err
	}
	board := &Board{Name: b.Name, Proxy: proxy, state: filepath.Join(c.Dir, b.Name), devices: map[string]*device{}}
	if err := os.MkdirAll(board.state, 0o700); err != nil {
		proxy.close()
		return nil, err
	}
	if _, err := lightningrod.Join(ctx, lightningrod.JoinConfig{State: board.state, Join: b.Join, Proxy: proxy.url()}); err != nil {
		proxy.close()
		return nil, err
	}
	return board, nil
}

// Running reports whether it runs.
func (b *Board) Running() bool { return b.stop != nil }

// Reachable reports whether it runs and its proxy is not cut.
func (b *Board) Reachable() bool { return b.Running() && !b.Proxy.isCut() }

// Start starts its lightning-rod.
func (b *Board) Start() error {
	e, err := lightningrod.New(lightningrod.Config{State: b.state, IOConfig: b.IOConfig, Guests: b.Guests, Moment: b.Moment, Devices: &lightningrod.Devices{
		Capabilities: func() link.Capabilities { return link.Capabilities{Networks: true} },
		Open:         b.open,
		Apply:        func([]vnet.Op) (link.Outcome, error) { return link.Outcome{}, nil },
		Sweep:        func(func(string) bool) error { return nil },
	}})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	b.stop = func() { cancel(); <-ended }
	return nil
}

// Stop ends it as SIGTERM does.
func (b *Board) Stop() {
	if b.stop != nil {
		b.stop()
		b.stop = nil
	}
}

// Kill ends it without a word to the cloud.
func (b *Board) Kill() {
	cut := b.Proxy.isCut()
	b.Proxy.Cut()
	b.Stop()
	if !cut {
		b.Proxy.Heal()
	}
}

// Close stops the board and takes its proxy.
func (b *Board) Close() {
	b.Stop()
	b.Proxy.close()
}

// Devices are the names of the devices that are there, sorted.
func (b *Board) Devices() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	names := make([]string, 0, len(b.devices))
	for n := range b.devices {
		names = append(names, n)
	}
	sort.Strings(names)
	return names
}

// open makes a device, unless there is one of the name.
func (b *Board) open(cfg link.Config) (lightningrod.Device, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.devices[cfg.Name] != nil {
		return nil, fmt.Errorf("device %s: it is there already", cfg.Name)
	}
	d := &device{board: b, name: cfg.Name, says: make(chan []byte), closed: make(chan struct{})}
	b.devices[cfg.Name] = d
	return d, nil
}

// Say has a device give a frame, with its offload header; false: it is not there.
func (b *Board) Say(device string, frame []byte) bool {
	b.mu.Lock()
	d := b.devices[device]
	b.mu.Unlock()
	if d == nil {
		return false
	}
	select {
	case d.says <- frame:
		return true
	case <-d.closed:
		return false
	}
}

// Hear has f called with every frame that comes to a device of the board.
func (b *Board) Hear(f func(device string, frame []byte)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.heard = f
}

// device is a wire that a test speaks on, where it does.
type device struct {
	board  *Board
	name   string
	says   chan []byte
	once   sync.Once
	closed chan struct{}
}

func (d *device) ReadFrames(next func() []byte, done func(int)) (int, error) {
	select {
	case <-d.closed:
		return 0, os.ErrClosed
	case f := <-d.says:
		done(copy(next(), f))
		return 1, nil
	}
}

func (d *device) Write(frame []byte) error {
	d.board.mu.Lock()
	heard := d.board.heard
	d.board.mu.Unlock()
	if heard != nil {
		heard(d.name, frame)
	}
	return nil
}

func (d *device) Flush() error { return nil }

func (d *device) Close() error {
	d.once.Do(func() {
		close(d.closed)
		d.board.mu.Lock()
		defer d.board.mu.Unlock()
		delete(d.board.devices, d.name)
	})
	return nil
}
