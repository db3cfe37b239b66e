package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/gre"
	"github.com/stack4things/s4t/internal/cloudlab"
	"github.com/stack4things/s4t/internal/netlab"
	"github.com/stack4things/s4t/link"
	"github.com/stack4things/s4t/vnet"
)

// TestHelperGretap is no test: it does in a namespace, with a TAP and a raw
// socket, what a kernel does with `ip link add type gretap`.
func TestHelperGretap(t *testing.T) {
	ends := strings.Fields(os.Getenv("S4T_E2E_GRETAP"))
	if len(ends) != 4 {
		t.Skip("a helper process of other tests")
	}
	exit(gretap(netip.MustParseAddr(ends[0]), netip.MustParseAddr(ends[1]), ends[2], netip.MustParsePrefix(ends[3])))
}

func gretap(local, remote netip.Addr, keyText string, address netip.Prefix) error {
	key, err := strconv.ParseUint(keyText, 10, 32)
	if err != nil {
		return err
	}
	end, err := gre.NewTunnel(local, remote, uint32(key))
	if err != nil {
		return err
	}
	socket, err := link.OpenGRE(local, remote)
	if err != nil {
		return err
	}
	dev, err := link.Open(link.Config{Name: "gt0", Layer: 2, Plain: true})
	if err != nil {
		return err
	}
	if err := link.Apply([]vnet.Op{
		vnet.MTU{Name: "gt0", MTU: vnet.GREMTU(1500)}, vnet.Addresses{Name: "gt0", Prefixes: []netip.Prefix{address}}, vnet.Up{Name: "gt0"},
	}); err != nil {
		return err
	}
	fmt.Println("gretap ready")
	var running sync.WaitGroup
	running.Go(func() {
		in := make([]byte, gre.OffloadLen+65535)
		for err == nil {
			_, err = socket.ReadPackets(func() []byte { return in[gre.OffloadLen:] }, func(n int) {
				clear(in[:gre.OffloadLen])
				if pkt, bad := end.Unwrap(in[:gre.OffloadLen+n]); bad == nil {
					dev.Write(pkt)
				}
			})
		}
	})
	running.Go(func() {
		out := make([]byte, link.MaxPacket)
		for err == nil {
			_, err = dev.ReadFrames(func() []byte { return out }, func(n int) {
				head := gre.Header{Proto: gre.ProtoTEB, Key: uint32(key), HasKey: true}
				socket.Write(append(head.Append(nil), out[link.HeaderLen:n]...))
			})
		}
	})
	running.Wait()
	return err
}

// greNetwork returns the network of a bridge.
func greNetwork(t *testing.T, c *cloudlab.Cloud, name string) s4t.Network {
	t.Helper()
	var n s4t.Network
	s4tJSON(t, c, &n, "network", "show", name)
	return n
}

// measure runs iperf3 from a host to a server and returns bit/s. Between two runs the
// server listens anew, which takes a machine that is emulated a while.
func measure(t *testing.T, from *netlab.Host, to string, more ...string) float64 {
	t.Helper()
	var out string
	var err error
	within(t, 20*time.Second, "iperf3", func() error {
		if out, err = from.Run(t.Context(), append([]string{"iperf3", "-J", "-c", to, "-t", "2"}, more...)...); strings.Contains(out, "Connection refused") {
			return errors.New("its server does not listen")
		}
		return nil
	})
	var r struct {
		End struct {
			Received struct {
				Bits float64 `json:"bits_per_second"`
			} `json:"sum_received"`
		} `json:"end"`
	}
	if jsonErr := json.Unmarshal([]byte(out), &r); err != nil || jsonErr != nil || r.End.Received.Bits == 0 {
		t.Fatalf("iperf3 %v: %v, %v: %s", more, err, jsonErr, out)
	}
	return r.End.Received.Bits
}

func TestAGREEndpointOfTheDataCentreJoinsANetwork(t *testing.T) {
	c := newCloud(t, 1)
	for _, encapsulation := range []s4t.Encapsulation{s4t.EncapGRE, s4t.EncapEthernet} {
		t.Run(string(encapsulation), func(t *testing.T) {
			name := "dc-" + string(encapsulation)
			var b s4t.Bridge
			s4tJSON(t, c, &b, "bridge", "create", name, "--board", "board1", "--cidr", "10.78.0.0/24", "--encapsulation", string(encapsulation))
			board := c.Boards[0].Host
			key := greNetwork(t, c, name).Key
			peer, err := c.Lab.User.Start("gretap", []string{fmt.Sprintf("S4T_E2E_GRETAP=%s %s %d 10.78.0.200/24", netlab.UserAddr, netlab.CloudAddr, key)},
				os.Args[0], "-test.run", "TestHelperGretap")
			if err != nil {
				t.Fatal(err)
			}
			defer peer.Kill()
			if _, err := peer.WaitLine("gretap ready", 0, time.Minute); err != nil {
				t.Fatal(err)
			}

			// Another key: nothing passes.
			var n s4t.Network
			other := strconv.FormatUint(uint64(key^1), 10)
			s4tJSON(t, c, &n, "network", "attach-gre", name, "--remote", netlab.UserAddr, "--key", other)
			if len(n.AttachGRE) != 1 || n.AttachGRE[0].Status != s4t.PortUp {
				t.Fatalf("attached: %+v", n.AttachGRE)
			}
			if ping(t.Context(), board, "10.78.0.200") == nil {
				t.Error("a ping passed although the keys differ")
			}
			var gone s4t.Network
			s4tJSON(t, c, &gone, "network", "detach-gre", name, "--remote", netlab.UserAddr, "--key", other)
			if len(gone.AttachGRE) != 0 {
				t.Fatalf("detached: %+v", gone.AttachGRE)
			}

			runS4T(t, c, "network", "attach-gre", name, "--remote", netlab.UserAddr)
			within(t, 3*time.Second, "ping the endpoint", func() error { return ping(t.Context(), board, "10.78.0.200") })
			within(t, 3*time.Second, "ping from it", func() error {
				return ping(t.Context(), c.Lab.User, addressOf(t, b, "board1", false))
			})
			if _, err := board.Run(t.Context(), "ping", "-n", "-c1", "-W2", "-s", "9000", "10.78.0.200"); err != nil {
				t.Errorf("a ping of 9000 bytes: %v", err)
			}
			server, err := c.Lab.User.Start("iperf3", nil, "iperf3", "-s", "--forceflush", "-B", "10.78.0.200")
			if err != nil {
				t.Skip(err)
			}
			defer server.Kill()
			if _, err := server.WaitLine("Server listening", 0, time.Minute); err != nil {
				t.Fatal(err)
			}
			t.Logf("board to endpoint %.0f Mbit/s, endpoint to board %.0f Mbit/s", measure(t, board, "10.78.0.200")/1e6, measure(t, board, "10.78.0.200", "-R")/1e6)

			// It survives the cloud's restart by itself.
			c.Process.Kill()
			if err := c.Run(); err != nil {
				t.Fatal(err)
			}
			within(t, 10*time.Second, "ping the endpoint after a restart", func() error { return ping(t.Context(), board, "10.78.0.200") })
			runS4T(t, c, "bridge", "delete", name)
		})
	}
	s4tFails(t, c, 2, "network", "attach-gre", "dc-gre", "--remote", "router.example")
	s4tFails(t, c, 3, "network", "attach-gre", "nowhere", "--remote", netlab.UserAddr)
	audit := runS4T(t, c, "audit", "list", "-o", "json")
	for _, action := range []string{"network.attach_gre", "network.detach_gre"} {
		if !strings.Contains(audit, action) {
			t.Errorf("the audit lacks %s", action)
		}
	}
}
