package main

import (
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/stack4things/s4t"
)

// TestSecretsLeaveTheProcessList: the code in the join string, and the password
// of a proxy.
func TestSecretsLeaveTheProcessList(t *testing.T) {
	const secret = "canary-password"
	proxy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer proxy.Close()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	join := s4t.JoinString{URLs: []string{"https://192.0.2.1:1"}, Code: "C", Name: "kitchen"}.String()
	for _, args := range [][]string{
		{"join", join, "--proxy", "http://maria:" + secret + "@" + proxy.Addr().String()},
		{"doctor", "--proxy=http://maria:" + secret + "@" + proxy.Addr().String(), join},
	} {
		cmd := exec.CommandContext(t.Context(), self, append(args, "--state", t.TempDir())...)
		cmd.Env = append(os.Environ(), "S4T_TEST_PROGRAM=1")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		c, err := proxy.Accept() // it is at work with them
		if err != nil {
			t.Fatal(err)
		}
		listed, err := os.ReadFile("/proc/" + strconv.Itoa(cmd.Process.Pid) + "/cmdline")
		if err != nil || strings.Contains(string(listed), secret) || strings.Contains(string(listed), join) || !strings.Contains(string(listed), args[0]) {
			t.Errorf("%s: the list shows %q, %v", args[0], listed, err)
		}
		cmd.Process.Kill()
		cmd.Wait()
		c.Close()
	}
}
