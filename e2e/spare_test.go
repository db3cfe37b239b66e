package e2e

import (
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/stack4things/s4t"
)

// TestNobodyIsSentWhatIsNotForHim: the switch answers ARP and neighbour
// solicitations for known ports, and multicast goes to who joined.
func TestNobodyIsSentWhatIsNotForHim(t *testing.T) {
	t.Parallel()
	c := newCloud(t, 3)
	var b s4t.Bridge
	s4tJSON(t, c, &b, "bridge", "create", "lab", "--board", "board1", "--board", "board2", "--board", "board3", "--cidr6", "fd00:96::/64")
	one, two := c.Boards[0].Host, c.Boards[1].Host
	iface := interfaceOf(t, b, "board1")
	seen := map[string]capture{}
	for _, board := range c.Boards[1:] {
		seen[board.Name] = startCapture(t, board.Host, interfaceOf(t, b, board.Name), c.Lab.Dir)
	}
	sees := func(board string, marker []byte) error {
		if n, _ := seen[board].count(marker); n == 0 {
			return fmt.Errorf("%s does not get it", board)
		}
		return nil
	}
	hostRun(t, one, "ip neigh flush dev %s", iface)
	for _, v6 := range []bool{false, true} {
		within(t, 3*time.Second, "ping", func() error { return ping(t.Context(), one, addressOf(t, b, "board2", v6)) })
	}
	group := func() hostile { // a packet to 239.1.1.1
		h := attacker(t, portOf(t, c, b, "board1"))
		f := h.udp4(h.ip4, 4000, 4001, nil)
		copy(f, net.HardwareAddr{0x01, 0x00, 0x5e, 0x01, 0x01, 0x01})
		copy(f[30:], []byte{239, 1, 1, 1})
		f[24], f[25] = 0, 0
		sum := ^sum16(f[14:34], 0)
		f[24], f[25] = byte(sum>>8), byte(sum)
		sendFrames(t, one, iface, f, 1, 0)
		return h
	}
	nobody := group()
	within(t, 2*time.Second, "a group that nobody joined goes to board3", func() error { return sees("board3", nobody.marker) })
	hostRun(t, two, "ip addr add 239.1.1.1/32 dev %s autojoin", interfaceOf(t, b, "board2"))
	honest := attacker(t, portOf(t, c, b, "board1"))
	within(t, 8*time.Second, "a group that board2 joined goes to it, and not to board3", func() error {
		joined := group() // a port that is new gets all for 3 s
		honest.marker[0]++
		sendFrames(t, one, iface, honest.udp4(honest.ip4, 4000, 4001, nil), 1, 0)
		within(t, 2*time.Second, "a broadcast goes to board3", func() error { return sees("board3", honest.marker) })
		if sees("board3", joined.marker) == nil {
			return fmt.Errorf("board3 is sent it too")
		}
		return sees("board2", joined.marker)
	})
	request := append([]byte{0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1}, honest.mac...)
	if sees("board3", request) == nil {
		t.Error("board3 is asked for the MAC of board2")
	}
}
