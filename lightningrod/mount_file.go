package lightningrod

import (
	"context"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/pinfs"
	"github.com/stack4things/s4t/wire"
)

// remoteFile is another board's pin in use by one open file.
type remoteFile struct {
	source *remoteSource
	board  *remoteBoard
	pin    string

	read *s4t.Sample // by Read, nil: it was not read; guarded by the source's mu
}

// ask asks the board.
func (f *remoteFile) ask(ctx context.Context, ask wire.PinAsk) (a wire.PinAnswer, err error) {
	got, err := f.source.link.ask(ctx, mountFrame{Ask: &wire.PinRequest{Board: string(f.board.id), Ask: ask}})
	if err != nil || got.Answer == nil {
		return a, err
	}
	f.source.mu.Lock()
	defer f.source.mu.Unlock()
	for _, p := range got.Answer.Pins {
		f.board.leases[p.Name] = p.Lease
	}
	return *got.Answer, nil
}

// Newest is the newest sample, while samples come.
func (f *remoteFile) Newest() (sample s4t.Sample, ok bool) {
	f.source.mu.Lock()
	defer f.source.mu.Unlock()
	p := f.board.pins[f.pin]
	if p == nil || !p.seen || !f.board.live || !f.board.online {
		return sample, false
	}
	n := f.source.node(f.board.name, f.pin)
	return p.newest, n != nil && pinfs.AtHand(&n.Pin, p.newest, f.source.now().Sub(p.came), f.read)
}

// Last is the newest sample that came, also while none come any more.
func (f *remoteFile) Last() (sample s4t.Sample, ok bool) {
	f.source.mu.Lock()
	defer f.source.mu.Unlock()
	p := f.board.pins[f.pin]
	if p == nil || !p.seen {
		return sample, false
	}
	return p.newest, true
}

// Read asks the board.
func (f *remoteFile) Read(ctx context.Context) (sample s4t.Sample, err error) {
	a, err := f.ask(ctx, wire.PinAsk{Do: wire.PinRead, Pins: []string{f.pin}})
	if err != nil {
		f.source.mu.Lock()
		defer f.source.mu.Unlock()
		if p := f.board.pins[f.pin]; p != nil {
			p.came = time.Time{}
		}
		return sample, err
	}
	if len(a.Samples) != 1 {
		return sample, s4t.Errorf(s4t.Internal, "read pin "+f.pin+" of board "+f.board.name, "", "the board gave %d samples", len(a.Samples))
	}
	sample = a.Samples[0]
	f.source.mu.Lock()
	defer f.source.mu.Unlock()
	f.read = &sample
	return sample, nil
}

// Write has the board write.
func (f *remoteFile) Write(ctx context.Context, value float64, fence int64) (held int64, err error) {
	_, err = f.ask(ctx, wire.PinAsk{Do: wire.PinWrite, Values: map[string]float64{f.pin: value}, Fence: fence})
	return 0, err // a board that mounts has no claim of its own
}

// Watch has the board's samples come.
func (f *remoteFile) Watch(wake func()) {
	f.source.mu.Lock()
	defer f.source.mu.Unlock()
	p := f.board.pins[f.pin]
	if p == nil {
		p = &remotePin{files: map[*remoteFile]func(){}}
		f.board.pins[f.pin] = p
	}
	p.files[f] = wake
	f.board.due = true
	notify(f.source.due)
}

// Lease is the pin's as far as this mount has heard of it.
func (f *remoteFile) Lease() *s4t.PinLease {
	f.source.mu.Lock()
	defer f.source.mu.Unlock()
	l := f.board.leases[f.pin]
	if l != nil && time.Now().After(l.Until) {
		return nil
	}
	return l
}

// Close ends the watch with the last file.
func (f *remoteFile) Close() {
	f.source.mu.Lock()
	defer f.source.mu.Unlock()
	p := f.board.pins[f.pin]
	if p == nil || p.files[f] == nil {
		return
	}
	if delete(p.files, f); len(p.files) == 0 {
		delete(f.board.pins, f.pin)
		f.board.due = true
		notify(f.source.due)
	}
}
