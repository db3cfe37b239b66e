package argv

import (
	"bufio"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// secretArgs are command lines of ours, and what must not be left of them.
var secretArgs = []struct {
	arg  string
	left string
}{
	{"s4t1.eyJ1IjpbImh0dHBz", "*********************"},
	{"--proxy=http://maria:pass@proxy:3128", "--proxy=http://maria:****@proxy:3128"},
	{"http://maria:p:a@s@proxy:3128", "http://maria:*****@proxy:3128"},
	{"maria:pass@proxy:3128", "maria:****@proxy:3128"},
	{"postgres://s4t:pass@db/s4t", "postgres://s4t:****@db/s4t"},
	{"postgres://db/s4t?password=pass&user=s4t", "postgres://db/s4t?password=****&user=s4t"},
	{"host=db password=pass dbname=s4t", "host=db password=**** dbname=s4t"},
	{"http://proxy:3128", "http://proxy:3128"},
	{"root@board", "root@board"},
	{"", ""},
}

func TestMain(m *testing.M) {
	if os.Getenv("S4T_TEST_ARGV") == "" {
		os.Exit(m.Run())
	}
	taken := Take()
	w := bufio.NewWriter(os.Stdout)
	w.WriteString(strings.Join(taken, "\x00"))
	w.WriteString("\x01")
	b, _ := os.ReadFile("/proc/self/cmdline")
	w.Write(b)
	w.Flush()
}

// TestSecretsLeaveTheProcessList: the kernel's own list is read.
func TestSecretsLeaveTheProcessList(t *testing.T) {
	var args, want []string
	for _, a := range secretArgs {
		args, want = append(args, a.arg), append(want, a.left)
	}
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), "S4T_TEST_ARGV=1")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	taken, listed, _ := strings.Cut(string(out), "\x01")
	if taken != strings.Join(args, "\x00") {
		t.Errorf("the program reads %q", taken)
	}
	_, listed, _ = strings.Cut(strings.TrimSuffix(listed, "\x00"), "\x00")
	got := strings.Split(listed, "\x00")
	for i := range want {
		if i >= len(got) || got[i] != want[i] {
			t.Errorf("%q: the list shows %q, want %q", args[i], got, want[i])
			return
		}
	}
}
