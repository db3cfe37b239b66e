package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/internal/cloudlab"
	"github.com/stack4things/s4t/wire"
)

// TestDoctorFromAfar asks the cloud about boards that are online.
func TestDoctorFromAfar(t *testing.T) {
	t.Parallel()
	c := newCloud(t, 2)
	b := c.Boards[0]
	afar := func(board string) []wire.Finding {
		var r wire.DoctorReport
		s4tJSON(t, c, &r, "doctor", board)
		return r.Findings
	}
	checkFindings(t, afar("board1"), "", "")

	// A network that another one of the board's overlaps, which came later.
	var br s4t.Bridge
	s4tJSON(t, c, &br, "bridge", "create", "lab", "--board", "board1", "--board", "board2", "--cidr", "10.99.7.0/24")
	hostRun(t, b.Host, "ip route add 10.99.7.0/25 via 192.168.1.1")
	within(t, 10*time.Second, "the doctor names the overlap", func() error { return hasFinding(afar("board1"), wire.AddressOverlap) })
	hostRun(t, b.Host, "ip route del 10.99.7.0/25")
	runS4T(t, c, "bridge", "delete", "lab")

	// A device that somebody else made.
	s4tJSON(t, c, &br, "bridge", "create", "lab", "--board", "board1", "--board", "board2")
	must(t, b.Process.Stop())
	device := interfaceOf(t, br, "board1")
	_, err := b.Host.Run(t.Context(), "ip", "link", "add", device, "type", "veth", "peer", "name", "other")
	must(t, err)
	must(t, b.Run())
	within(t, 10*time.Second, "the doctor names the device", func() error { return hasFinding(afar("board1"), wire.DeviceNameTaken) })
	_, err = b.Host.Run(t.Context(), "ip", "link", "del", device)
	must(t, err)
	took := within(t, healLimit, "the port is back", func() error { return ping(t.Context(), b.Host, addressOf(t, br, "board2", false)) })
	t.Logf("back after %v", took.Round(10*time.Millisecond))

	// A copy of the board: it is told, the first one works on.
	must(t, os.Mkdir(b.State+"-copy", 0o700))
	identity, err := os.ReadFile(filepath.Join(b.State, "identity.json"))
	must(t, err)
	must(t, os.WriteFile(filepath.Join(b.State+"-copy", "identity.json"), identity, 0o600))
	copied := &cloudlab.Board{Board: c.Boards[1].Board, Name: "copy", State: b.State + "-copy"}
	c.Adopt(copied)
	must(t, copied.Run())
	p := &patient{T: t, Board: copied.Board, cloud: c, state: copied.State}
	within(t, 10*time.Second, "the copy's doctor names it", func() error { return hasFinding(p.examine(), wire.BoardCloned) })
	if err := hasFinding(afar("board1"), wire.BoardCloned); err != nil {
		t.Error(err)
	}
	must(t, ping(t.Context(), b.Host, addressOf(t, br, "board2", false)))
}

// hasFinding fails unless a diagnosis is among the findings.
func hasFinding(findings []wire.Finding, want string) error {
	for _, f := range findings {
		if f.ID == want {
			return nil
		}
	}
	return fmt.Errorf("%s is not among %+v", want, findings)
}
