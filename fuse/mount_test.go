//go:build linux

package fuse

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// roles is what the test binary does when it is started again.
var roles = map[string]func() int{}

func verify(m *testing.M) int {
	code := m.Run()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, "goleak:", err)
			return 1
		}
	}
	return code
}

func TestShell(t *testing.T) {
	tr := newTree()
	m := mountTree(t, tr)
	for _, test := range []struct{ script, want string }{
		{"cat value", "0"},
		{"ls", "far\nlink\nmany\nvalue"},
		{"ls -a", ".\n..\nfar\nlink\nmany\nvalue"},
		{"echo 1 > value; cat value", "1"},
		{"echo 2 >> value; cat link", "2"},
		{"echo 3 | tee value; cat value", "3\n3"},
		{"readlink link", "value"},
		{"stat -c '%a %s %F %Y' value", "666 0 regular empty file 1700000000"},
		{"head -c 1 value", "3"},
		{"dd if=value bs=1 2>/dev/null", "3"},
		{"test -w value && echo yes", "yes"},
		{"stat -f -c %l .", "255"},
	} {
		if got := m.sh(t, test.script); got != test.want {
			t.Errorf("%s: %q, not %q", test.script, got, test.want)
		}
	}
}
