package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/internal/cloudlab"
)

// healLimit is how soon after its cause has gone a fault must have healed.
const healLimit = 5 * time.Second

// world is a cloud with two boards, a bridge and an exposed sshd: what must be
// back after every fault.
type world struct {
	*cloudlab.Cloud
	bridge  s4t.Bridge
	service s4t.Service
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return newWorldOn(t, newCloud(t, 2))
}

// newWorldOn makes the world on a cloud with two boards.
func newWorldOn(t *testing.T, c *cloudlab.Cloud) *world {
	t.Helper()
	w := &world{Cloud: c}
	s4tJSON(t, w.Cloud, &w.bridge, "bridge", "create", "lab", "--board", "board1", "--board", "board2")
	if _, err := w.Boards[0].Host.StartSSHD(); err != nil {
		t.Skip(err)
	}
	s4tJSON(t, w.Cloud, &w.service, "service", "expose", "board1", "ssh")
	if err := w.works(t); err != nil {
		within(t, healLimit, "the world works before the fault", func() error { return w.works(t) })
	}
	return w
}

// works fails unless the bridge carries pings both ways and the public port
// reaches sshd.
func (w *world) works(t *testing.T) error {
	if err := ping(t.Context(), w.Boards[0].Host, addressOf(t, w.bridge, "board2", false)); err != nil {
		return err
	}
	if err := ping(t.Context(), w.Boards[1].Host, addressOf(t, w.bridge, "board1", false)); err != nil {
		return err
	}
	out, _ := w.Lab.User.Run(t.Context(), "timeout", "2", "bash", "-c",
		fmt.Sprintf("exec 3<>/dev/tcp/%s/%d && head -c 7 <&3", w.service.Host, w.service.PublicPort))
	if out != "SSH-2.0" {
		return fmt.Errorf("the public port answers %q", out)
	}
	return nil
}

// tidy fails when anything is there twice, left over or half made.
func (w *world) tidy(t *testing.T) error {
	var bridges []s4t.Bridge
	if err := w.JSON(t.Context(), &bridges, "bridge", "list"); err != nil {
		return err
	}
	if len(bridges) != 1 || len(bridges[0].Ports) != 2 || bridges[0].Status != s4t.BridgeUp {
		return fmt.Errorf("bridges: %+v", bridges)
	}
	var services []s4t.Service
	if err := w.JSON(t.Context(), &services, "service", "list"); err != nil {
		return err
	}
	if len(services) != 1 || services[0].PublicPort != w.service.PublicPort || services[0].Status != s4t.ServiceUp {
		return fmt.Errorf("services: %+v", services)
	}
	for i, b := range w.Boards {
		out, err := b.Host.Run(t.Context(), "ip", "-br", "link")
		if err != nil {
			return err
		}
		if n := strings.Count(out, "s4t-"); n != 1 {
			return fmt.Errorf("board%d has %d devices of ours:\n%s", i+1, n, out)
		}
	}
	out, err := w.Lab.Cloud.Run(t.Context(), "ss", "-Hltn")
	if err != nil {
		return err
	}
	if n := strings.Count(strings.TrimSpace(out), "\n") + 1; n != 2 {
		return fmt.Errorf("the cloud has %d listeners, want the HTTPS port and one public port:\n%s", n, out)
	}
	return nil
}

func TestFault(t *testing.T) {
	for _, tt := range []struct {
		name   string
		break_ func(t *testing.T, w *world) // returns when the cause has gone
	}{
		{"kill -9 of iotronic", func(t *testing.T, w *world) {
			w.Process.Kill()
			must(t, w.Cloud.Run())
		}},
		{"kill -9 of lightning-rod", func(t *testing.T, w *world) {
			w.Boards[0].Process.Kill()
			must(t, w.Boards[0].Run())
		}},
		{"kill -9 of both", func(t *testing.T, w *world) {
			w.Process.Kill()
			w.Boards[0].Process.Kill()
			w.Boards[1].Process.Kill()
			must(t, w.Boards[0].Run())
			must(t, w.Boards[1].Run())
			must(t, w.Cloud.Run())
		}},
		{"the board's link cut for 30 s", func(t *testing.T, w *world) {
			must(t, w.Boards[0].Cut())
			start := time.Now()
			took := within(t, 10*time.Second, "the dead board is noticed", func() error {
				return status(t, w.Cloud, "board1", s4t.BoardOffline)
			})
			t.Logf("noticed after %v", took.Round(10*time.Millisecond))
			time.Sleep(30*time.Second - time.Since(start))
			must(t, w.Boards[0].Heal())
		}},
		{"the cloud not there when the board starts", func(t *testing.T, w *world) {
			must(t, w.Process.Stop())
			must(t, w.Boards[0].Process.Stop())
			must(t, w.Boards[0].Run())
			within(t, healLimit, "the saved state is applied without the cloud", func() error {
				_, err := w.Boards[0].Host.Run(t.Context(), "ip", "link", "show", interfaceOf(t, w.bridge, "board1"))
				return err
			})
			time.Sleep(6 * time.Second) // let it back off
			must(t, w.Cloud.Run())
		}},
		{"conntrack of the NAT flushed", func(t *testing.T, w *world) {
			if err := w.Boards[0].Flush(); err != nil {
				t.Skip(err)
			}
		}},
		{"SIGSTOP of lightning-rod for 20 s", func(t *testing.T, w *world) {
			must(t, w.Boards[0].Process.Signal(syscall.SIGSTOP))
			time.Sleep(20 * time.Second)
			must(t, w.Boards[0].Process.Signal(syscall.SIGCONT))
		}},
		{"SIGSTOP of iotronic for 20 s", func(t *testing.T, w *world) {
			must(t, w.Process.Signal(syscall.SIGSTOP))
			time.Sleep(20 * time.Second)
			must(t, w.Process.Signal(syscall.SIGCONT))
		}},
		{"a bit flipped in the board's saved state", func(t *testing.T, w *world) {
			must(t, w.Boards[0].Process.Stop())
			file := filepath.Join(w.Boards[0].State, "desired.json")
			b, err := os.ReadFile(file)
			must(t, err)
			b[len(b)/2] ^= 0x10
			must(t, os.WriteFile(file, b, 0o600))
			must(t, w.Boards[0].Run())
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			tt.break_(t, w)
			took := within(t, healLimit, "everything is back", func() error { return w.works(t) })
			t.Logf("healed in %v", took.Round(10*time.Millisecond))
			within(t, healLimit, "nothing is left over", func() error { return w.tidy(t) })
			healed(tt.name, took)
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestLeaveCleansUpAlsoOffline(t *testing.T) {
	for _, online := range []bool{true, false} {
		t.Run(fmt.Sprintf("online=%v", online), func(t *testing.T) {
			c := newCloud(t, 1)
			var br s4t.Bridge
			s4tJSON(t, c, &br, "bridge", "create", "lab", "--board", "board1")
			b := c.Boards[0]
			if !online {
				must(t, b.Cut())
			}
			if out, err := b.Host.Run(t.Context(), filepath.Join(bin, "lightning-rod"), "leave", "--state", b.State); err != nil {
				t.Fatal(out, err)
			}
			if out, err := b.Host.Run(t.Context(), "ip", "-br", "link"); err != nil || strings.Contains(out, "s4t-") {
				t.Errorf("devices after leave: %s %v", out, err)
			}
			if left, _ := filepath.Glob(filepath.Join(b.State, "*")); len(left) > 0 {
				t.Errorf("state after leave: %v", left)
			}
			if online {
				within(t, 3*time.Second, "the cloud knows", func() error {
					var now s4t.Board
					err := c.JSON(t.Context(), &now, "board", "show", "board1")
					if err == nil && now.Status == s4t.BoardOnline {
						return fmt.Errorf("still %s", now.Status)
					}
					return nil
				})
			}
		})
	}
}
