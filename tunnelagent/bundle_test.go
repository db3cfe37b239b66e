package tunnelagent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/queue"
	"github.com/stack4things/s4t/rtunnel"
	"github.com/stack4things/s4t/wire"
)

// bundleStore is a conductor that has one bundle.
type bundleStore struct {
	digest string
	text   []byte
	gets   atomic.Int64
}

func (s *bundleStore) get(_ context.Context, req wire.BundleGet) (wire.BundlePart, error) {
	s.gets.Add(1)
	if req.Digest != s.digest {
		return wire.BundlePart{}, s4t.Errorf(s4t.NotFound, "get a bundle", "", "there is no bundle %s", req.Digest)
	}
	from := min(req.Offset, int64(len(s.text)))
	return wire.BundlePart{Size: int64(len(s.text)), Data: s.text[from:min(from+wire.MaxBundlePart, int64(len(s.text)))]}, nil
}

// withBundle gives a rig's conductor a bundle of size bytes.
func withBundle(t *testing.T, r *rig, size int) *bundleStore {
	t.Helper()
	s := &bundleStore{digest: "d1", text: make([]byte, size)}
	rand.NewChaCha8([32]byte{1}).Read(s.text)
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() {
		r.queue.Serve(ctx, wire.TopicBundles, "", 4, queue.Mux{wire.MethodBundleGet: queue.Handle(s.get)}.Serve)
	})
	t.Cleanup(func() { cancel(); serving.Wait() })
	return s
}

// fetch reads a bundle from an offset to its end.
func fetch(r *rig, digest string, from int64) (head wire.BundleHead, got []byte, err error) {
	conn, err := r.dial(rtunnel.SubprotocolBundle, r.sign(wire.Ticket{Purpose: wire.PurposeBundle, Board: kitchen, Bundle: digest, Project: "p"}, nil))
	if err != nil {
		return head, nil, err
	}
	defer conn.Close()
	if err := conn.WriteMessage(rtunnel.OpText, wire.Encode(wire.BundleFrom{Offset: from})); err != nil {
		return head, nil, err
	}
	for {
		op, p, err := conn.ReadMessage()
		switch {
		case errors.Is(err, io.EOF):
			return head, got, nil
		case err != nil:
			return head, got, err
		case op == rtunnel.OpBinary:
			got = append(got, p...)
		default:
			if err := json.Unmarshal(p, &head); err != nil {
				return head, got, err
			}
		}
	}
}

func TestABundleIsSentFromWhereABoardHasIt(t *testing.T) {
	r := newRig(t)
	s := withBundle(t, r, 3*wire.MaxBundlePart+77)
	for _, from := range []int64{0, 1, wire.MaxBundlePart - 1, wire.MaxBundlePart, 3*wire.MaxBundlePart + 76, 3*wire.MaxBundlePart + 77} {
		head, got, err := fetch(r, s.digest, from)
		if err != nil || head.Error != nil || head.Size != int64(len(s.text)) || !bytes.Equal(got, s.text[from:]) {
			t.Errorf("from %d: %d bytes, %+v, %v", from, len(got), head, err)
		}
	}
	if n := s.gets.Load(); n != 4 {
		t.Errorf("its 4 parts were asked for %d times", n)
	}
	for name, tt := range map[string]struct {
		digest string
		from   int64
		kind   s4t.Kind
	}{
		"more than there is":      {s.digest, int64(len(s.text)) + 1, s4t.Invalid},
		"less than nothing":       {s.digest, -1, s4t.Invalid},
		"one that is not (there)": {"d2", 0, s4t.NotFound},
	} {
		head, got, err := fetch(r, tt.digest, tt.from)
		if err != nil || head.Error == nil || head.Error.Kind != tt.kind || len(got) != 0 {
			t.Errorf("%s: %+v, %d bytes, %v", name, head, len(got), err)
		}
	}
}

// TestATicketForABundleIsForThatAlone: it opens nothing else, no other opens it, and it
// works once.
func TestATicketForABundleIsForThatAlone(t *testing.T) {
	r := newRig(t)
	s := withBundle(t, r, 10)
	good := wire.Ticket{Purpose: wire.PurposeBundle, Board: kitchen, Bundle: s.digest}
	once := r.sign(good, nil)
	if _, err := r.dial(rtunnel.SubprotocolBundle, once); err != nil {
		t.Fatal(err)
	}
	if _, err := r.dial(rtunnel.SubprotocolBundle, once); !contains(err, "used before") {
		t.Errorf("used twice: %v", err)
	}
	if _, err := r.dial(rtunnel.SubprotocolStreams, r.sign(good, nil)); s4t.KindOf(err) != s4t.Forbidden {
		t.Errorf("used for streams: %v", err)
	}
	if _, err := r.dial(rtunnel.SubprotocolBundle, r.sign(wire.Ticket{Purpose: wire.PurposeStream, Board: kitchen}, nil)); s4t.KindOf(err) != s4t.Forbidden {
		t.Errorf("with a ticket for a stream: %v", err)
	}
}

// TestAProjectHasAShareOfTheBundles: and each board.
func TestAProjectHasAShareOfTheBundles(t *testing.T) {
	b := newBundles(nil)
	var leaves []func()
	enter := func(board s4t.BoardID, project s4t.ProjectID) bool {
		leave, err := b.enter(wire.Ticket{Board: board, Project: project})
		if err != nil {
			return false
		}
		leaves = append(leaves, leave)
		return true
	}
	n := 0
	for enter(kitchen, "p") {
		n++
	}
	if n != maxBundlesFrom {
		t.Errorf("a board has %d", n)
	}
	for enter(s4t.BoardID(s4t.NewID()), "p") {
		n++
	}
	if n != maxBundlesOf {
		t.Errorf("a project has %d", n)
	}
	if !enter(garden, "q") {
		t.Error("nothing is left for another project")
	}
	for _, leave := range leaves {
		leave()
	}
	if b.all != 0 || len(b.boards) != 0 || len(b.projects) != 0 {
		t.Errorf("%d, %v, %v are left", b.all, b.boards, b.projects)
	}
}

// TestWhatIsKeptOfBundlesIsBounded: what was used last stays.
func TestWhatIsKeptOfBundlesIsBounded(t *testing.T) {
	r := newRig(t)
	parts := bundleCache/wire.MaxBundlePart + 3
	s := withBundle(t, r, parts*wire.MaxBundlePart)
	if _, got, err := fetch(r, s.digest, 0); err != nil || !bytes.Equal(got, s.text) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	b := r.agent.bundles
	b.mu.Lock()
	if b.bytes > bundleCache || len(b.parts) != bundleCache/wire.MaxBundlePart || b.recent.Len() != len(b.parts) {
		t.Errorf("%d bytes in %d parts", b.bytes, len(b.parts))
	}
	newest := b.parts[partKey{s.digest, int64(parts-1) * wire.MaxBundlePart}].Value.(*bundlePart).used
	b.mu.Unlock()
	b.sweep(newest.Add(bundleKeep))
	if len(b.parts) != 0 || b.bytes != 0 {
		t.Errorf("%d parts of %d bytes are kept for ever", len(b.parts), b.bytes)
	}
}
