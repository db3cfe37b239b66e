package e2e

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/stack4things/s4t/internal/netlab"
)

// receive listens on a host, runs during, and puts what arrives into a file.
func receive(t *testing.T, h *netlab.Host, addr string, tcpPort int, file string, during func()) {
	t.Helper()
	out, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	cmd := h.Command(ctx, os.Args[0], "-test.run=^TestHelperReceive$")
	cmd.Env = append(os.Environ(), fmt.Sprintf("S4T_E2E_RECEIVE=%s:%d", addr, tcpPort))
	cmd.Stdout = out
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := h.WaitListen(tcpPort, 5*time.Second); err != nil {
		t.Fatal(err)
	}
	during()
	if err := cmd.Wait(); err != nil {
		t.Fatalf("receive on %s: %v", h.Name, err)
	}
}

// send sends a file over TCP from a host.
func send(t *testing.T, h *netlab.Host, addr string, tcpPort int, file string) {
	t.Helper()
	in, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	cmd := h.Command(ctx, os.Args[0], "-test.run=^TestHelperSend$")
	cmd.Env = append(os.Environ(), fmt.Sprintf("S4T_E2E_SEND=%s:%d", addr, tcpPort))
	cmd.Stdin = in
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("send from %s: %v", h.Name, err)
	}
}
