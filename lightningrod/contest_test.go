package lightningrod

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stack4things/s4t/link"
	"github.com/stack4things/s4t/vnet"
	"github.com/stack4things/s4t/wire"
)

// fought is a port whose device somebody else changes.
func fought(t *testing.T) (b *portBench, change func(), undone *atomic.Int64) {
	b = newPortBench()
	undone = new(atomic.Int64)
	var disturbed atomic.Bool
	b.cfg.Apply = func([]vnet.Op) (link.Outcome, error) {
		if !disturbed.Swap(false) {
			return link.Outcome{}, nil
		}
		undone.Add(1)
		return link.Outcome{Changed: []vnet.Op{vnet.Addresses{Name: "s4t-0a1b2c3d"}, vnet.Up{Name: "s4t-0a1b2c3d"}}}, nil
	}
	b.wantPorts(testPort())
	agent := <-b.dialer.agents
	go readAll(agent)
	t.Cleanup(func() { agent.Close() })
	synctest.Wait()
	return b, func() {
		disturbed.Store(true)
		b.noticed(link.Change{Interface: "s4t-0a1b2c3d"})
	}, undone
}

func TestWhoFightsOverADeviceIsNamedAndUndoneLessOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, change, undone := fought(t)
		defer b.Apply(nil)
		for i := range contestedBy {
			if st := b.only(t); !st.Up || st.Problem != "" {
				t.Errorf("after %d changes: %+v", i, st)
			}
			change()
			time.Sleep(time.Second)
			synctest.Wait()
			if undone.Load() != int64(i+1) {
				t.Fatalf("%d of %d changes were undone within a second", undone.Load(), i+1)
			}
		}
		st := b.only(t)
		if !st.Up || st.ProblemID != wire.DeviceContested || !strings.Contains(st.Problem, "the addresses, the state (down) of s4t-0a1b2c3d") {
			t.Errorf("state = %+v", st)
		}
		before := undone.Load()
		for range 600 {
			change()
			time.Sleep(time.Second)
			synctest.Wait()
		}
		if n := undone.Load() - before; n < 10 || n > 60 {
			t.Errorf("%d changes of 600 were undone in ten minutes", n)
		}
		time.Sleep(2 * contestTime)
		synctest.Wait()
		if st := b.only(t); !st.Up || st.Problem != "" {
			t.Errorf("when it is over: %+v", st)
		}
		change()
		before = undone.Load()
		time.Sleep(time.Second)
		synctest.Wait()
		if st := b.only(t); undone.Load() != before+1 || st.Problem != "" {
			t.Errorf("another change, later: %+v, undone %d", st, undone.Load()-before)
		}
	})
}

func TestAChangeOfAnotherDeviceIsNotLookedAt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, change, undone := fought(t)
		defer b.Apply(nil)
		change() // sets the trap; the change that follows is told too
		time.Sleep(time.Second)
		before := undone.Load()
		b.noticed(link.Change{Interface: "eth0"})
		time.Sleep(time.Second)
		synctest.Wait()
		if undone.Load() != before {
			t.Error("it was")
		}
	})
}

// TestWhatADeviceDoesWithoutIsToldWhileItIsUp: row F3.
func TestWhatADeviceDoesWithoutIsToldWhileItIsUp(t *testing.T) {
	sysctl := errors.New("sysctl: read-only file system")
	for _, tt := range []struct {
		lacking []error
		id      string
	}{
		{nil, ""},
		{[]error{sysctl}, wire.SettingRefused},
		{[]error{sysctl, fmt.Errorf("%w: it is off", link.ErrNoIPv6)}, wire.IPv6Unavailable},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newPortBench()
			b.cfg.Apply = func([]vnet.Op) (link.Outcome, error) { return link.Outcome{Lacking: tt.lacking}, nil }
			b.wantPorts(testPort())
			defer b.Apply(nil)
			agent := <-b.dialer.agents
			defer agent.Close()
			synctest.Wait()
			if st := b.only(t); !st.Up || st.ProblemID != tt.id || (st.Problem == "") != (tt.id == "") {
				t.Errorf("lacking %v: %+v", tt.lacking, st)
			}
		})
	}
}

func TestWhoManagesNetworksIsFound(t *testing.T) {
	proc := t.TempDir()
	for pid, comm := range map[string]string{"1": "systemd", "20": "NetworkManager", "21": "systemd-network", "22": "systemd-network", "self": "connmand"} {
		os.Mkdir(filepath.Join(proc, pid), 0o700)
		if err := os.WriteFile(filepath.Join(proc, pid, "comm"), []byte(comm+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got := managers(proc); !slices.Equal(got, []string{"NetworkManager", "systemd-networkd"}) {
		t.Errorf("managers = %v", got)
	}
}
