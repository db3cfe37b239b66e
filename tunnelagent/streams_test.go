package tunnelagent

import (
	"io"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/internal/loopback"
	"github.com/stack4things/s4t/rtunnel/stream"
	"github.com/stack4things/s4t/wire"
)

// TestStreamsEndWithTheirLease: when its time is over, and as soon as it is taken back; the owner's go
// on.
func TestStreamsEndWithTheirLease(t *testing.T) {
	r := newRig(t)
	target := loopback.Serve(t, parrot)
	r.board(kitchen)
	x := r.exposureOf(kitchen, freePort(t), target) // so that the board has rtunnels
	const night, day s4t.LeaseID = "night", "day"
	leases := func(until map[s4t.LeaseID]time.Time) wire.Resource {
		spec := wire.TunnelStreams{Project: orchard, Limit: s4t.Unlimited, Leases: map[s4t.LeaseID]int64{}}
		for id, at := range until {
			spec.Leases[id] = at.UnixMicro()
		}
		return wire.NewResource(wire.KindStreams, string(kitchen), spec)
	}
	open := func(lease s4t.LeaseID) (*stream.Stream, error) {
		return stream.Dial(t.Context(), r.dialer, r.server.URL, r.sign(wire.Ticket{Purpose: wire.PurposeStream, Board: kitchen, Target: target, Lease: lease}, nil))
	}
	echo := func(s *stream.Stream) error {
		if _, err := s.Write([]byte("x")); err != nil {
			return err
		}
		_, err := io.ReadFull(s, make([]byte, 1))
		return err
	}
	later := time.Now().Add(time.Hour)
	r.add(x, leases(map[s4t.LeaseID]time.Time{night: later}))
	r.await("the public port", func(v view) bool { return up(wire.KindService, x.ID)(v) })
	var opened []*stream.Stream
	for _, lease := range []s4t.LeaseID{"", night} {
		s, err := open(lease)
		if err != nil {
			t.Fatalf("by lease %q: %v", lease, err)
		}
		defer s.Close()
		if err := echo(s); err != nil {
			t.Fatalf("by lease %q: %v", lease, err)
		}
		opened = append(opened, s)
	}
	owner, lessee := opened[0], opened[1]
	if _, err := open(day); s4t.KindOf(err) != s4t.Forbidden {
		t.Errorf("by a lease that is not there: %v", err)
	}
	ended := func(s *stream.Stream) {
		t.Helper()
		if n, err := s.Read(make([]byte, 1)); err == nil { // it waits until the stream ends
			t.Errorf("%d bytes come", n)
		}
	}
	r.add(leases(map[s4t.LeaseID]time.Time{day: time.Now().Add(time.Second)})) // the night was taken back
	ended(lessee)
	if brief, err := open(day); err == nil { // on a slow machine its time is over by now
		defer brief.Close()
		ended(brief)
	}
	if err := echo(owner); err != nil {
		t.Errorf("the owner's: %v", err)
	}
}
