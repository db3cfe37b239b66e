package main

import (
	"io"
	"net"
	"net/http"
	"testing"
)

// from is one end of a pipe that came from an address.
type from struct {
	net.Conn
	addr *net.TCPAddr
}

func (f from) RemoteAddr() net.Addr { return f.addr }

// crowd lets n connections of an address come; their far ends are returned.
func crowd(t *testing.T, a *admission, addr string, n int) (near []net.Conn, far []net.Conn) {
	t.Helper()
	for i := range n {
		c, peer := net.Pipe()
		conn := from{c, &net.TCPAddr{IP: net.ParseIP(addr), Port: i + 1}}
		near, far = append(near, conn), append(far, peer)
		a.state(conn, http.StateNew)
		t.Cleanup(func() { a.state(conn, http.StateClosed); c.Close() })
	}
	return near, far
}

// ended waits until a far end is closed.
func ended(t *testing.T, what string, far net.Conn) {
	t.Helper()
	if _, err := far.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("%s: %v", what, err)
	}
}

func TestOneGuestTooManyEndsTheQuietestOfTheLargestCrowd(t *testing.T) {
	a := newAdmission()
	few, fewFar := crowd(t, a, "192.0.2.1", 2)
	many, manyFar := crowd(t, a, "198.51.100.7", maxGuests-2)
	a.state(many[0], http.StateActive) // it says something: the next one is the quietest
	_, more := crowd(t, a, "192.0.2.9", 1)
	ended(t, "the quietest of the many", manyFar[1])
	if len(a.conns) != maxGuests {
		t.Errorf("%d are kept", len(a.conns))
	}
	crowd(t, a, "198.51.100.7", 1)
	ended(t, "the next of the many, for one of theirs", manyFar[2])
	for _, c := range []net.Conn{few[0], few[1], many[0]} {
		if a.conns[c] == nil {
			t.Errorf("%s was ended", c.RemoteAddr())
		}
	}
	for _, far := range append(fewFar, more...) {
		far.Close()
	}
}

func TestWhoWasHandedOverIsNoGuest(t *testing.T) {
	a := newAdmission()
	near, _ := crowd(t, a, "192.0.2.1", 3)
	a.state(near[0], http.StateActive)
	a.state(near[0], http.StateHijacked)
	a.state(near[1], http.StateActive)
	a.state(near[1], http.StateIdle)
	a.state(near[2], http.StateClosed)
	a.state(near[2], http.StateClosed)
	if len(a.conns) != 1 || a.conns[near[1]] == nil || len(a.sources) != 1 {
		t.Errorf("%d guests of %d sources", len(a.conns), len(a.sources))
	}
}

func TestASourceIsAnAddressOrAnIPv6Subscriber(t *testing.T) {
	for addr, want := range map[string]string{
		"192.0.2.1": "192.0.2.1/32", "::ffff:192.0.2.1": "192.0.2.1/32", "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64", "fe80::1": "fe80::/64",
	} {
		if got := sourceOf(&net.TCPAddr{IP: net.ParseIP(addr), Port: 1}); got.String() != want {
			t.Errorf("%s counts as %s, want %s", addr, got, want)
		}
	}
}
