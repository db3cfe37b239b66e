package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/plugin"
)

func TestMain(m *testing.M) {
	if plugin.IsStub(os.Args) { // this binary stands for the program, of which a guest begins as a stub
		plugin.StubMain()
	}
	if os.Getenv("S4T_TEST_PROGRAM") != "" { // this binary stands for the program
		main()
	}
	goleak.VerifyTestMain(m)
}

// lightningRod runs one command line.
func lightningRod(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	status = run(t.Context(), args, &out, &errs)
	return status, out.String(), errs.String()
}

func TestExitStatusSaysWhatWentWrong(t *testing.T) {
	state := t.TempDir()
	join := s4t.JoinString{URLs: []string{"https://127.0.0.1:1"}, Code: "C", Name: "kitchen"}.String()
	joined := t.TempDir()
	if err := os.WriteFile(filepath.Join(joined, "identity.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		args   []string
		status int
		says   string // on standard error
	}{
		{"no command", nil, exitUsage, "name a command"},
		{"an unknown command", []string{"fly"}, exitUsage, `"fly"`},
		{"an unknown flag", []string{"run", "--fast"}, exitUsage, "--fast"},
		{"a flag of another command", []string{"run", "--name", "x"}, exitUsage, "no flag --name"},
		{"join without a join string", []string{"join"}, exitUsage, "join JOIN-STRING"},
		{"join with two", []string{"join", "a", "b"}, exitUsage, "2 arguments"},
		{"a bad join string", []string{"join", "hello", "--state", state}, exitUsage, "s4t board create"},
		{"a flag before the command and after the argument", []string{"--state", state, "join", "hello", "--no-run"}, exitUsage, "s4t board create"},
		{"another name than the code's", []string{"join", join, "--name", "garden", "--state", state}, exitUsage, "kitchen"},
		{"a bad --allow-target", []string{"run", "--allow-target", "lan", "--state", state}, exitUsage, "192.168.1.0/24"},
		{"a bad --allow-target of join, before anything happens", []string{"join", join, "--allow-target", "lan", "--state", state}, exitUsage, "192.168.1.0/24"},
		{"a bad -o", []string{"status", "-o", "xml"}, exitUsage, "xml"},
		{"a cloud that is not there", []string{"join", join, "--state", state}, exitFailed, "127.0.0.1:1"},
		{"joined already", []string{"join", join, "--state", joined}, exitConflict, "leave"},
		{"run without having joined", []string{"run", "--state", state}, exitNotFound, "lightning-rod join"},
		{"status without having joined", []string{"status", "--state", state}, exitNotFound, "lightning-rod join"},
		{"leave without having joined", []string{"leave", "--state", state}, exitNotFound, "lightning-rod join"},
		{"doctor of nonsense", []string{"doctor", "hello", "--state", state}, exitUsage, "join string"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, stdout, stderr := lightningRod(t, tt.args...)
			if status != tt.status || !strings.Contains(stderr, tt.says) || stdout != "" {
				t.Errorf("exit %d, stdout %q, stderr %q; want %d and stderr with %q", status, stdout, stderr, tt.status, tt.says)
			}
			if last := strings.TrimSpace(stderr[strings.LastIndex(strings.TrimSpace(stderr), "\n")+1:]); !strings.HasPrefix(last, "lightning-rod: ") {
				t.Errorf("the last line of %q is not the error", stderr)
			}
		})
	}
}

func TestEveryCommandHasHelpWithAnExample(t *testing.T) {
	for _, c := range commands() {
		t.Run(c.name, func(t *testing.T) {
			status, stdout, _ := lightningRod(t, c.name, "-h")
			if status != exitDone || !strings.Contains(stdout, "Example:\n  lightning-rod "+c.name) {
				t.Errorf("exit %d: %s", status, stdout)
			}
			for _, f := range c.flags {
				if !strings.Contains(stdout, "--"+f) {
					t.Errorf("the help does not tell of --%s", f)
				}
			}
		})
	}
	if status, stdout, _ := lightningRod(t, "-h"); status != exitDone || !strings.Contains(stdout, "join JOIN-STRING") {
		t.Errorf("exit %d: %s", status, stdout)
	}
}

func TestDoctorPrintsFindings(t *testing.T) {
	state := t.TempDir()
	status, stdout, _ := lightningRod(t, "doctor", "https://127.0.0.1:1", "--state", state)
	if status != exitFailed || !strings.Contains(stdout, "tcp") || !strings.Contains(stdout, "likely: ") {
		t.Errorf("exit %d: %s", status, stdout)
	}
	status, stdout, _ = lightningRod(t, "doctor", "--state", state, "-o", "json")
	var findings []map[string]any
	if err := json.Unmarshal([]byte(stdout), &findings); err != nil || status != exitDone || len(findings) == 0 {
		t.Errorf("exit %d, %v: %s", status, err, stdout)
	}
}

func TestVersion(t *testing.T) {
	if status, stdout, _ := lightningRod(t, "version"); status != exitDone || stdout != "lightning-rod dev\n" {
		t.Errorf("exit %d: %q", status, stdout)
	}
}
