package lightningrod

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stack4things/s4t/vnet"
	"github.com/stack4things/s4t/wire"
)

func TestAPortThatBridgesAnInterfaceLooksAfterItAndTidiesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newPortBench()
		removed := make(chan string, 4)
		b.cfg.Sweep = func(keep func(bridge string) bool) error {
			for _, bridge := range []string{vnet.BridgeName(portA), "s4tb-ffffffff"} {
				if !keep(bridge) {
					removed <- bridge
				}
			}
			return nil
		}
		want := testPort()
		want.Guards.BridgeTo = "eth1"
		b.apply([]wire.DesiredPort{want})
		for _, when := range []string{"at first", "and again, as it may have been unplugged"} {
			synctest.Wait()
			time.Sleep(bridgeCheck)
			ops := <-b.applied
			if plan := vnet.Render(ops); !strings.Contains(plan, "ip link set dev eth1 master "+vnet.BridgeName(portA)) {
				t.Errorf("%s the plan is\n%s", when, plan)
			}
		}
		if len(removed) > 0 {
			t.Error("the kernel bridge of a port that is wanted was removed")
		}
		b.apply(nil)
		if got := <-removed; got != vnet.BridgeName(portA) || len(removed) > 0 {
			t.Errorf("%s was removed", got)
		}
	})
}
