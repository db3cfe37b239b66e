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
)

// TestABoardThatIsAwayIsNoHang: EHOSTUNREACH, whether the cloud knows that the board
// is away or the board only does not answer; and the tree is back when the board is.
func TestABoardThatIsAwayIsNoHang(t *testing.T) {
	l := newPinLab(t)
	b := l.board("kitchen", "")
	mount, _ := l.userMount("boards", "kitchen")
	value := filepath.Join(mount, "kitchen/sim/demo/out/value")
	l.wants("ok", "write", value, "1")

	b.cmd.Process.Signal(syscall.SIGSTOP)
	began := time.Now()
	l.wants("EHOSTUNREACH", "write", value, "0")
	t.Logf("a board that does not answer: after %v, with the start of a Python", time.Since(began).Round(10*time.Millisecond))
	if msg := l.fails(5, "pin", "write", "kitchen", "sim/demo/out", "0"); !strings.Contains(msg, "kitchen") {
		t.Errorf("the error names no board: %s", msg)
	}
	b.cmd.Process.Signal(syscall.SIGCONT)
	within(t, patience, "it answers again", func() error {
		if got := l.files("write", value, "1"); got != "ok" {
			return fmt.Errorf("%s", got)
		}
		return nil
	})

	b.stop()
	if _, err := l.s4t("board", "wait", "kitchen", "--status", "offline", "--timeout", "30s"); err != nil {
		t.Fatal(err)
	}
	began = time.Now()
	l.wants("EHOSTUNREACH", "write", value, "0")
	t.Logf("a board that is offline: after %v, with the start of a Python", time.Since(began).Round(10*time.Millisecond))
	within(t, patience, "reads are refused, too", func() error {
		if got := l.files("read", value); got != "EHOSTUNREACH" {
			return fmt.Errorf("%s", got)
		}
		return nil
	})
	l.fails(5, "pin", "read", "kitchen", "sim/demo/out")
	var pins []s4t.Pin
	if l.json(&pins, "pin", "list", "kitchen"); len(pins) < 6 {
		t.Errorf("the cloud's copy has %d pins", len(pins))
	}

	b.again()
	within(t, patience, "it is back", func() error {
		if got := l.files("write", value, "0"); got != "ok" {
			return fmt.Errorf("%s", got)
		}
		return nil
	})
}

// login makes a user and returns the arguments by which `s4t` is that user.
func (l *pinLab) login(user string) []string {
	l.t.Helper()
	contexts := filepath.Join(l.dir, user+".toml")
	s := filepath.Join(bin, "s4t")
	l.must("sh", "-c", "echo secret-of-"+user+" | "+s+" user create "+user+" --project default --role member --password-stdin")
	l.must("sh", "-c", "echo secret-of-"+user+" | "+s+" --context-file "+contexts+" login "+l.url+" --user "+user+" --ca "+filepath.Join(l.dir, "cloud/ca.pem")+" --password-stdin")
	return []string{"--context-file", contexts}
}

// TestTwoUsersAndOnePin: claims are obeyed by everybody who writes, on the board, at
// mounts and through the API; who loses a pin to a higher priority is told.
func TestTwoUsersAndOnePin(t *testing.T) {
	l := newPinLab(t)
	b := l.board("kitchen", "")
	alice, bob := l.login("alice"), l.login("bob")
	as := func(user []string, args ...string) []string { return append(append([]string{}, user...), args...) }
	const pin = "sim/demo/out"
	dir, _ := l.userMount("bobs", "kitchen", bob...)
	bobs := filepath.Join(dir, "kitchen", pin, "value")

	// A claim: others get EBUSY and exit status 6, its holder writes.
	var claimed s4t.Pin
	l.json(&claimed, as(alice, "pin", "claim", "kitchen", pin, "--for", "10m")...)
	if claimed.Lease == nil || !strings.Contains(claimed.Lease.Holder, "alice") {
		t.Errorf("%+v", claimed.Lease)
	}
	if msg := l.fails(6, as(bob, "pin", "write", "kitchen", pin, "1")...); !strings.Contains(msg, "alice") || !strings.Contains(msg, pin) {
		t.Errorf("bob is not told who has which pin: %s", msg)
	}
	l.wants("EBUSY", "write", bobs, "1")
	l.wants("EBUSY", "write", b.value(pin), "1")
	l.must(as([]string{filepath.Join(bin, "s4t")}, as(alice, "pin", "write", "kitchen", pin, "1")...)...)
	l.is(bobs, "1")
	l.must(as([]string{filepath.Join(bin, "s4t")}, as(alice, "pin", "release", "kitchen", pin)...)...)
	l.wants("ok", "write", bobs, "0")
	l.wants("ok", "write", b.value(pin), "0")

	// A pending actuation goes back, and who ordered it is told.
	events := l.start(filepath.Join(bin, "s4t"), "event", "watch", "-o", "json")
	within(t, patience, "events are watched", func() error {
		l.s4t("pin", "claim", "kitchen", pin)
		l.s4t("pin", "release", "kitchen", pin)
		if !strings.Contains(events.log.String(), "pin.") {
			return fmt.Errorf("nothing yet")
		}
		return nil
	})
	write := l.start(append([]string{filepath.Join(bin, "s4t")}, as(alice, "pin", "write", "kitchen", pin, "1", "--for", "10m")...)...)
	l.is(b.value(pin), "1")
	l.fails(6, as(bob, "pin", "write", "kitchen", pin, "1")...)
	l.must(append([]string{filepath.Join(bin, "s4t")}, as(bob, "pin", "claim", "kitchen", pin, "--priority", "5")...)...)
	l.is(b.value(pin), "0")
	select {
	case <-write.done:
	case <-time.After(patience):
		t.Fatal("alice is not told")
	}
	if code := write.cmd.ProcessState.ExitCode(); code != 6 || !strings.Contains(write.log.String(), "bob") {
		t.Errorf("alice: exit status %d: %s", code, write.log)
	}
	l.waitFor(events, "pin.reaped", 1)

	// A value for a time goes back by itself; a claim that is over is no claim.
	l.must(append([]string{filepath.Join(bin, "s4t")}, as(bob, "pin", "release", "kitchen", pin)...)...)
	l.must(append([]string{filepath.Join(bin, "s4t")}, as(alice, "pin", "write", "kitchen", pin, "1", "--for", "300ms")...)...)
	l.is(b.value(pin), "0")
	l.must(append([]string{filepath.Join(bin, "s4t")}, as(alice, "pin", "claim", "kitchen", pin, "--for", "300ms")...)...)
	within(t, patience, "the claim is over", func() error {
		if got := l.files("write", bobs, "1"); got != "ok" {
			return fmt.Errorf("%s", got)
		}
		return nil
	})
}

// TestTheCloudDiesWhileAnActuationIsPending: the board takes the value back by
// itself, and the operation ends when the cloud is there again.
func TestTheCloudDiesWhileAnActuationIsPending(t *testing.T) {
	l := newPinLab(t)
	b := l.board("kitchen", "")
	const pin = "sim/demo/out"
	var op s4t.Operation
	l.json(&op, "pin", "write", "kitchen", pin, "1", "--for", "4s", "--no-wait")
	if op.ID == "" || op.Status != s4t.OperationRunning {
		t.Fatalf("%+v", op)
	}
	l.cloud.kill()
	l.wants("1", "read", b.value(pin))
	l.is(b.value(pin), "0")
	l.startCloud()
	within(t, patience, "the operation ends", func() error {
		var now s4t.Operation
		if l.json(&now, "operation", "show", string(op.ID)); now.Status != s4t.OperationSucceeded {
			return fmt.Errorf("it is %s: %+v", now.Status, now.Error)
		}
		return nil
	})
	within(t, patience, "it is written as before", func() error {
		_, err := l.s4t("pin", "write", "kitchen", pin, "1")
		return err
	})
	l.is(b.value(pin), "1")
}

// TestTwoBoardsMountEachOther: neither tree is in the other, and both end.
func TestTwoBoardsMountEachOther(t *testing.T) {
	l := newPinLab(t)
	a, b := l.board("kitchen", ""), l.board("garden", "")
	dirA, mountA := a.boardMount("garden")
	dirB, mountB := b.boardMount("kitchen")
	l.wants("ok", "write", filepath.Join(dirA, "garden/sim/demo/out/value"), "1")
	l.wants("ok", "write", filepath.Join(dirB, "kitchen/sim/demo/out/value"), "1")
	l.is(b.value("sim/demo/in"), "1")
	l.is(a.value("sim/demo/in"), "1")
	for _, dir := range []string{dirA, dirB} {
		if n := l.must("sh", "-c", "ls -lR "+dir+" | wc -l"); n == "0" {
			t.Error("nothing in ", dir)
		}
	}
	mountA.stop()
	b.stop()
	l.wants("EHOSTUNREACH", "write", filepath.Join(dirB, "kitchen/sim/demo/out/value"), "1") // its own lightning-rod is away
	mountB.stop()
	if out, err := l.sh("grep ' " + l.dir + "/' /proc/self/mounts | grep -v ' " + a.io + " '"); err == nil {
		t.Errorf("mounts are left, besides the tree of kitchen: %s", out)
	}
}

// TestAMountThatIsKilled: what was open says so, what waits can be killed, and the
// next mount takes its place.
func TestAMountThatIsKilled(t *testing.T) {
	l := newPinLab(t)
	b := l.board("kitchen", "")
	dir, mount := l.userMount("boards", "kitchen")
	value := filepath.Join(dir, "kitchen/sim/demo/out/value")
	l.wants("ok", "write", value, "1")

	// A writer that waits for a board that does not answer dies of SIGKILL.
	b.cmd.Process.Signal(syscall.SIGSTOP)
	waits := l.start("sh", "-c", "echo writes; echo 0 > "+value)
	l.waitFor(waits, "writes", 1)
	waits.cmd.Process.Kill()
	select {
	case <-waits.done:
	case <-time.After(patience):
		t.Fatal("it cannot be killed")
	}
	b.cmd.Process.Signal(syscall.SIGCONT)

	poll := l.watching(filepath.Join(dir, "kitchen/sim/demo/in/value"), 1000)
	mount.kill()
	select {
	case <-poll.done: // it was told that the mount is gone
	case <-time.After(patience):
		t.Error("who polls is not told that the mount is gone")
	}
	if got := l.files("read", value); got != "ENOTCONN" {
		t.Errorf("after the mount was killed: %s", got)
	}
	dir, _ = l.userMount("boards", "kitchen")
	within(t, patience, "the next mount", func() error {
		if got := l.files("write", filepath.Join(dir, "kitchen/sim/demo/out/value"), "1"); got != "ok" {
			return fmt.Errorf("%s", got)
		}
		return nil
	})
}

// TestLightningRodIsKilledAndStartsAgain over its own dead mount, with its outputs
// as they were.
func TestLightningRodIsKilledAndStartsAgain(t *testing.T) {
	l := newPinLab(t)
	b := l.board("kitchen", labelled)
	value := b.value("sim/demo/out")
	l.wants("ok", "write", value, "1")
	within(t, patience, "the value is on the disk of the board", func() error { // at most so often: see docs/pins.md
		_, err := l.sh(`grep -q '"sim/demo/out":{[^}]*"output":1' ` + filepath.Join(b.state, "pins.json"))
		return err
	})
	for range 2 {
		b.kill()
		if got := l.files("read", value); got != "ENOTCONN" {
			t.Errorf("after it was killed: %s", got)
		}
		b.again()
		l.wants("1", "read", value)
		l.is(b.value("sim/demo/in"), "1")
	}
	if n := l.must("sh", "-c", "grep -c ' "+b.io+" ' /proc/self/mounts"); n != "1" {
		t.Errorf("%s mounts at %s", n, b.io)
	}
	b.stop()
	if out, err := l.sh("grep ' " + b.io + " ' /proc/self/mounts"); err == nil {
		t.Errorf("it left %s", out)
	}
	if entries, err := os.ReadDir(b.io); err == nil && len(entries) > 0 {
		t.Errorf("it left %v", entries)
	}
}
