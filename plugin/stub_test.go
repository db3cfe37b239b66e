package plugin

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestExit(t *testing.T) {
	s := makeSandbox(t)
	for _, tt := range []struct {
		name, script string
		want         Exit
		text         string
	}{
		{"done", "exit 0", Exit{}, "exit status 0"},
		{"fails", "exit 3", Exit{Code: 3}, "exit status 3"},
		{"killed", "kill -9 $$", Exit{Code: -1, Signal: "SIGKILL"}, "killed by SIGKILL"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, exit := run(t, s, shell(tt.script))
			if exit != tt.want || exit.String() != tt.text {
				t.Fatalf("%+v: %s", exit, exit)
			}
		})
	}
}

func TestErrorsOfTheExecAreErrorsOfStart(t *testing.T) {
	s := makeSandbox(t)
	dir := ownFolder(t, ownUser())
	if err := os.WriteFile(dir+"/noise", []byte("\x00\x01"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		spec Spec
		want string
	}{
		{"no such file", Spec{Argv: []string{"/bin/there-is-none"}, Dir: "/"}, "no such file or directory"},
		{"no program", Spec{Argv: []string{dir + "/noise"}, Dir: "/", Read: []string{dir}}, "exec format error"},
		{"no such folder", Spec{Argv: []string{"/bin/sh"}, Dir: "/there-is-none"}, "no such file or directory"},
		{"no such path", Spec{Argv: []string{"/bin/sh"}, Dir: "/", Write: []string{"/there-is-none"}}, "allow /there-is-none"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if strings.HasPrefix(tt.want, "allow") {
				need(t, s, enforceFiles, "Landlock")
			}
			tt.spec.Name = "guest"
			if _, err := s.Start(tt.spec); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("error %v, want %q", err, tt.want)
			}
		})
	}
}

func TestItGetsWhatItIsGiven(t *testing.T) {
	s := makeSandbox(t)
	leak, err := unix.Open("/dev/zero", unix.O_RDONLY, 0) // without O_CLOEXEC
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(leak)
	spec := Spec{Argv: []string{program(t, "env")}, Env: []string{"A=1", "B=two words"}}
	if text, _ := run(t, s, spec); text != "A=1\nB=two words" {
		t.Errorf("environment %q", text)
	}
	if text, _ := run(t, s, shell("cd /proc/$$/fd && echo *")); strings.Contains(text, " "+strconv.Itoa(leak)) {
		t.Errorf("files %q, and lightning-rod's %d is among them", text, leak)
	}
	spec = shell("umask; ulimit -c; ulimit -f; cat /proc/self/oom_score_adj; pwd")
	spec.Limits.Disk, spec.Dir = 1<<20, "/proc"
	if text, _ := run(t, s, spec); text != "0077\n0\n2048\n500\n/proc" {
		t.Errorf("bounds %q", text)
	}
	text, _ := run(t, s, Spec{Argv: []string{program(t, "cat"), "/proc/self/status"}})
	for _, want := range []string{"CapEff:\t0000000000000000", "CapPrm:\t0000000000000000", "CapAmb:\t0000000000000000", "NoNewPrivs:\t1"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

func TestUserIsItsOwn(t *testing.T) {
	s := makeSandbox(t)
	need(t, s, enforceUser, "own user")
	spec := shell("id -u; id -G; ls -d /proc/1 2>&1; kill -0 1 2>&1")
	spec.UID, spec.GID = 60_000_123, 60_000_124
	text, _ := run(t, s, spec)
	if lines := strings.Split(text, "\n"); lines[0] != "60000123" || lines[1] != "60000124" {
		t.Fatal(text)
	}
	if !strings.Contains(text, "No such process") && !strings.Contains(text, "not permitted") {
		t.Fatalf("it can signal others: %s", text)
	}
}

func TestFilesThatItWasNotGiven(t *testing.T) {
	s := makeSandbox(t)
	need(t, s, enforceFiles, "Landlock")
	uid := ownUser()
	data, shown, other := ownFolder(t, uid), ownFolder(t, uid), ownFolder(t, uid)
	for _, dir := range []string{shown, other} {
		if err := os.WriteFile(dir+"/file", []byte("text\n"), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	spec := shell(fmt.Sprintf(`
try() { if sh -c "$2" 2>/dev/null >&2; then echo "$1 yes"; else echo "$1 no"; fi; }
try data "echo 1 >%[1]s/a && mkdir %[1]s/d && mv %[1]s/a %[1]s/d/b && cat %[1]s/d/b && ln -s /etc %[1]s/l"
try shown "cat %[2]s/file"
try change-shown "echo 1 >%[2]s/file"
try truncate-shown ": >%[2]s/file"
try other "cat %[3]s/file"
try list-other "ls %[3]s"
try change-other "echo 1 >%[3]s/file"
try make-other "echo 1 >%[3]s/new"
try tmp "echo 1 >/tmp/s4t-sandbox-test"
try null "echo 1 >/dev/null"`, data, shown, other))
	spec.UID, spec.GID, spec.Read, spec.Write = uid, uid, []string{shown}, []string{data}
	const want = `data yes
shown yes
change-shown no
truncate-shown no
other no
list-other no
change-other no
make-other no
tmp no
null yes`
	if text, _ := run(t, s, spec); text != want {
		t.Fatalf("got\n%s\nwant\n%s", text, want)
	}
}

func TestNetwork(t *testing.T) {
	s := makeSandbox(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	spec := asGuest(t, "connect", listener.Addr().String())
	spec.Network = true
	if text, exit := run(t, s, spec); exit.Code != 0 {
		t.Fatalf("it was given the network: %s: %s", exit, text)
	}
	if strings.HasPrefix(s.Enforces()[enforceNetwork], "no: ") {
		t.Skipf("this machine does not keep it from the network: %s", s.Enforces()[enforceNetwork])
	}
	spec.Network = false
	if text, exit := run(t, s, spec); exit.Code != 1 {
		t.Fatalf("it was not given the network: %s: %s", exit, text)
	}
}
