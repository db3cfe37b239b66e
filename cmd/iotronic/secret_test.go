package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestThePasswordOfTheDatabaseLeavesTheProcessList.
func TestThePasswordOfTheDatabaseLeavesTheProcessList(t *testing.T) {
	const secret = "canary-password"
	database, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer database.Close()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "serve", "--data", filepath.Join(t.TempDir(), "data"), "--listen", "127.0.0.1:0",
		"--database", "postgres://s4t:"+secret+"@"+database.Addr().String()+"/s4t")
	cmd.Env = append(os.Environ(), "S4T_TEST_PROGRAM=1")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	c, err := database.Accept() // it is at work with it
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	listed, err := os.ReadFile("/proc/" + strconv.Itoa(cmd.Process.Pid) + "/cmdline")
	if err != nil || strings.Contains(string(listed), secret) || !strings.Contains(string(listed), "postgres://s4t:") {
		t.Errorf("the list shows %q, %v", listed, err)
	}
}
