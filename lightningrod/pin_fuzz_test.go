package lightningrod

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/hal"
	"github.com/stack4things/s4t/wire"
)

// FuzzMountFrames: nothing that stands on the socket of mounts ends a mount otherwise than
// by an error.
func FuzzMountFrames(f *testing.F) {
	f.Add([]byte("{\"id\":1,\"watch\":{\"board\":\"x\"}}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		s := newRemoteSource(boardA, nil, stateDir(t.TempDir()), slog.New(slog.DiscardHandler))
		s.boards["b"] = &remoteBoard{id: "b", name: "b", pins: map[string]*remotePin{"a": {files: map[*remoteFile]func(){}}}}
		readMountFrames(bytes.NewReader(text), s.got)
		if tree := s.Tree(); len(tree.Boards) != 0 {
			t.Errorf("%+v", tree)
		}
	})
}

// FuzzPinAsk: whatever the cloud asks is answered with JSON, or with an error of a kind.
func FuzzPinAsk(f *testing.F) {
	file := filepath.Join(f.TempDir(), "io.toml")
	if err := os.WriteFile(file, []byte(testIO), 0o600); err != nil {
		f.Fatal(err)
	}
	none := f.TempDir()
	h, err := hal.New(hal.Config{File: file, Sys: none, Dev: none})
	if err != nil {
		f.Fatal(err)
	}
	p := newPins(h, "", boardA, nil, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); h.Run(ctx) }()
	f.Cleanup(func() { cancel(); <-done })
	for _, do := range []string{wire.PinList, wire.PinRead, wire.PinSet, wire.PinClaim, wire.PinRelease, wire.PinHistory} {
		f.Add(wire.Encode(wire.PinAsk{Do: do, Pins: []string{"sim/b/out"}, Settings: map[string]string{"label": "x"}, Fence: 1, Holder: "user:1"}))
	}
	f.Fuzz(func(t *testing.T, question []byte) {
		answer, err := p.answer(t.Context(), nil, string(question))
		if err == nil && !json.Valid([]byte(answer)) || err != nil && s4t.KindOf(err) == s4t.Internal {
			t.Errorf("%q: %s, %v", question, answer, err)
		}
	})
}
