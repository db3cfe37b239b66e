package e2e

import (
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// TestHelperReceive and TestHelperSend are no tests: other tests run this
// binary in a namespace as a plain TCP receiver and sender.
func TestHelperReceive(t *testing.T) {
	addr := os.Getenv("S4T_E2E_RECEIVE")
	if addr == "" {
		t.Skip("a helper process of other tests")
	}
	l, err := net.Listen("tcp", addr)
	if err == nil {
		var c net.Conn
		if c, err = l.Accept(); err == nil {
			_, err = io.Copy(os.Stdout, c)
		}
	}
	exit(err)
}

func TestHelperSend(t *testing.T) {
	addr := os.Getenv("S4T_E2E_SEND")
	if addr == "" {
		t.Skip("a helper process of other tests")
	}
	c, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err == nil {
		if _, err = io.Copy(c, os.Stdin); err == nil {
			err = c.(*net.TCPConn).CloseWrite()
		}
		io.Copy(io.Discard, c) // until the other end has it all
	}
	exit(err)
}

// exit leaves before the test binary prints its own lines.
func exit(err error) {
	if err != nil {
		os.Stderr.WriteString(err.Error() + "\n")
		os.Exit(1)
	}
	os.Exit(0)
}

// TestHelperDNS answers every A query with the address in a file, and every
// other with nothing.
func TestHelperDNS(t *testing.T) {
	zone := os.Getenv("S4T_E2E_DNS")
	if zone == "" {
		t.Skip("a helper process of other tests")
	}
	c, err := net.ListenPacket("udp", ":53")
	if err != nil {
		exit(err)
	}
	buf := make([]byte, 512)
	for {
		n, from, err := c.ReadFrom(buf)
		if err != nil {
			exit(err)
		}
		addr, err := os.ReadFile(zone)
		if err != nil {
			exit(err)
		}
		if answer := dnsAnswer(buf[:n], net.ParseIP(string(addr))); answer != nil {
			c.WriteTo(answer, from)
		}
	}
}

// dnsAnswer answers a query with one question (RFC 1035 section 4.1).
func dnsAnswer(query []byte, addr net.IP) []byte {
	end := 12 // of the header
	for end < len(query) && query[end] != 0 {
		end += int(query[end]) + 1
	}
	end += 5 // the root label, type, class
	if end > len(query) {
		return nil
	}
	out := append([]byte(nil), query[:end]...)
	out[2], out[3] = 0x81, 0x80                                // an answer, recursion available
	copy(out[4:12], []byte{0, 1, 0, 0, 0, 0, 0, 0})            // one question
	if query[end-4] == 0 && query[end-3] == 1 && addr != nil { // type A
		out[7] = 1
		out = append(out, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4) // the name of the question, A, IN, TTL 0
		out = append(out, addr.To4()...)
	}
	return out
}
