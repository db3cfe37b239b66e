package e2e

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestTheOwnersHoursOfABoard: its owner takes the board back, and gives it again, at
// once and without the cloud's leave.
func TestTheOwnersHoursOfABoard(t *testing.T) {
	c := newCloud(t, 1)
	d := sshd(t, c.Boards[0])
	set := func(flags ...string) {
		t.Helper()
		args := append([]string{"profile", "set", "--state", c.Boards[0].State}, flags...)
		if out, err := exec.CommandContext(t.Context(), filepath.Join(c.Bin, "lightning-rod"), args...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	soon := func(what string) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); !strings.Contains(runS4T(t, c, "board", "profile", "board1", "-o", "json"), what); time.Sleep(100 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("the profile of the board never has %s", what)
			}
		}
	}
	ssh := []string{"ssh", "board1", "--user", "root", "--identity", d.Key, "--ssh-option", "BatchMode=yes", "--", "echo", "hello"}
	runS4T(t, c, ssh...)
	later := time.Now().UTC().Add(48 * time.Hour).Format("Mon")
	set("--cpu", "25%", "--hours", later+" 00:00-00:01", "--zone", "UTC", "--notice", "0s")
	soon(`"open": false`)
	if out, err := c.S4T(t.Context(), ssh...); err == nil || !strings.Contains(err.Error(), "it opens at ") {
		t.Errorf("ssh while the board is closed: %s, %v", out, err)
	}
	set("--hours", "none")
	soon(`"open": true`)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		if _, err := c.S4T(t.Context(), ssh...); err == nil {
			break
		} else if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}
