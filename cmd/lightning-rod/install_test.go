package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stack4things/s4t/lightningrod"
	"github.com/stack4things/s4t/unit"
)

// TestTheUnitRunsWhatWasGiven: for each service manager.
func TestTheUnitRunsWhatWasGiven(t *testing.T) {
	for _, m := range unit.Managers() {
		status, stdout, stderr := lightningRod(t, "install", "--print", "--manager", string(m), "--state", "/data/board", "--allow-target", "192.168.1.0/24",
			"--allow-bridge", "eth1", "--source-per-user", "on")
		if status != exitDone {
			t.Fatalf("%s: %d, %s", m, status, stderr)
		}
		for _, want := range []string{"run --state /data/board --allow-target 192.168.1.0/24 --allow-bridge eth1 --source-per-user on", "/data/board/identity.json"} {
			if !strings.Contains(stdout, want) {
				t.Errorf("%s: no %q in\n%s", m, want, stdout)
			}
		}
	}
	status, stdout, _ := lightningRod(t, "install", "--print", "--manager", "systemd")
	if status != exitDone || !strings.Contains(stdout, " run\n") || !strings.Contains(stdout, "RuntimeDirectory=lightning-rod") {
		t.Errorf("without flags: %d\n%s", status, stdout)
	}
	status, stdout, _ = lightningRod(t, "install", "--print", "--manager", "systemd", "--io", "/run/lightning-rod/io", "--io-config", "/etc/io.toml", "--state", "/data")
	for _, want := range []string{"--io-config /etc/io.toml --io /run/lightning-rod/io\n", "CapabilityBoundingSet=CAP_CHOWN CAP_DAC_OVERRIDE CAP_FOWNER CAP_KILL CAP_NET_ADMIN CAP_SETGID CAP_SETPCAP CAP_SETUID CAP_SYS_ADMIN\n", "DeviceAllow=/dev/fuse rw", "RuntimeDirectoryMode=0755", "SystemCallFilter=@system-service @mount"} {
		if status != exitDone || !strings.Contains(stdout, want) {
			t.Errorf("with a tree: %d, no %q in\n%s", status, want, stdout)
		}
	}
	for _, no := range []string{"ProtectSystem", "ProtectHome", "PrivateTmp", "ProtectKernel", "ProtectControl", "ProtectProc", "ReadWritePaths"} {
		if strings.Contains(stdout, no+"=") {
			t.Errorf("with a tree: %s gives it a mount namespace of its own\n%s", no, stdout)
		}
	}
	for _, args := range [][]string{{"--manager", "upstart"}, {"--manager", "systemd", "--allow-target", "lan"}} {
		if status, _, stderr := lightningRod(t, append([]string{"install", "--print"}, args...)...); status != exitUsage {
			t.Errorf("%q: %d, %s", args, status, stderr)
		}
	}
}

// joinedState is the state of a board that has joined a cloud that is not there.
func joinedState(t *testing.T) string {
	t.Helper()
	state := t.TempDir()
	id, err := json.Marshal(lightningrod.Identity{
		Board: "3f0c2a9e-5b1d-4c57-9a61-0d6f4a4b7c11", Name: "kitchen", Key: make([]byte, 32), URLs: []string{"https://127.0.0.1:1"},
		TicketKey: make([]byte, 32), JoinedAt: time.Unix(1, 0),
	})
	if err == nil {
		err = os.WriteFile(filepath.Join(state, lightningrod.IdentityFile), id, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return state
}

// TestTheEndOfALoginEndsNothing: neither SIGHUP nor a log that nobody reads any
// more; SIGTERM does.
func TestTheEndOfALoginEndsNothing(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root for a network namespace")
	}
	state := joinedState(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "unshare", "-n", self, "run", "--state", state, "--io", "none", "--verbose")
	cmd.Env = append(os.Environ(), "S4T_TEST_PROGRAM=1")
	logs, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	for {
		s, err := lightningrod.ReadStatus(t.Context(), state)
		if err == nil && s.Running {
			break
		}
		if t.Context().Err() != nil {
			t.Fatalf("it does not run: %v", err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	logs.Close()
	for range 3 {
		if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		if _, err := lightningrod.ReadStatus(t.Context(), state); err != nil {
			t.Fatal(err)
		}
	}
	cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
}
