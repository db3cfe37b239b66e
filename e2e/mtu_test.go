package e2e

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/internal/cloudlab"
)

// TestNoPathMTUBlackHole transfers 1 MB across a bridge and through a stream
// where packets over the underlay's MTU vanish and ICMP is blocked.
func TestNoPathMTUBlackHole(t *testing.T) {
	for _, mtu := range []int{576, 1124, 1280, 1500} {
		for _, where := range []string{"own", "middle"} {
			t.Run(fmt.Sprintf("%d-%s", mtu, where), func(t *testing.T) {
				t.Parallel()
				lab := newLab(t, 2)
				for _, b := range lab.Boards() {
					shrink := b.ShrinkPath
					if where == "own" {
						shrink = b.ShrinkLink
					}
					if err := shrink(mtu); err != nil {
						t.Fatal(err)
					}
				}
				c, err := cloudlab.Start(lab, bin)
				if err != nil {
					t.Fatal(err)
				}
				showLogs(t, c)
				for i := range 2 {
					start := time.Now()
					var made s4t.Board
					name := fmt.Sprintf("board%d", i+1)
					b := &cloudlab.Board{Board: lab.Boards()[i], Name: name, State: filepath.Join(lab.Dir, name)}
					s4tJSON(t, c, &made, "board", "create", name)
					if err := c.Adopt(b).Join(made.Join); err != nil {
						t.Fatal(err)
					}
					if err := b.WaitReady(0, 30*time.Second); err != nil {
						t.Fatal(err)
					}
					t.Logf("%s joined in %v", name, time.Since(start).Round(time.Millisecond))
				}
				var br s4t.Bridge
				s4tJSON(t, c, &br, "bridge", "create", "lab", "--board", "board1", "--board", "board2", "--timeout", "45s")
				file := randomFile(t, lab.Dir, "mb", 1<<20)
				got := filepath.Join(lab.Dir, "got")
				to := addressOf(t, br, "board2", false)
				receive(t, lab.Boards()[1].Host, to, 7777, got, func() {
					send(t, lab.Boards()[0].Host, to, 7777, file)
				})
				if sum(t, file) != sum(t, got) {
					t.Error("across the bridge: another file arrived")
				}
				d := sshd(t, c.Boards[0])
				out, err := c.S4T(t.Context(), "ssh", "board1", "--user", "root", "--identity", d.Key, "--", "cat", file)
				if err != nil {
					t.Fatal(err)
				}
				if len(out) != 1<<20 {
					t.Errorf("through a stream: %d bytes arrived", len(out))
				}
			})
		}
	}
}
