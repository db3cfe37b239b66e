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
