package plugin

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestDiskUsed: what no path can name is counted, and what is too deep to be looked at is too much.
func TestDiskUsed(t *testing.T) {
	dir := t.TempDir()
	if n := used(1<<20, false, dir, filepath.Join(dir, "none")); n > 1<<16 {
		t.Errorf("an empty folder is %d bytes", n)
	}
	t.Chdir(dir) // and back, before it is removed
	deep := func(levels, length int) {
		for range levels {
			name := strings.Repeat("d", length)
			if err := os.Mkdir(name, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Chdir(name); err != nil {
				t.Fatal(err)
			}
		}
	}
	deep(30, 200)
	if err := os.WriteFile("x", make([]byte, 1<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	if n := used(1<<30, false, dir); n < 1<<20 || n > 2<<20 {
		t.Errorf("with a file of 1 MB: %d", n)
	}
	if n := used(1<<19, false, dir); n <= 1<<19 {
		t.Errorf("it is more than the limit, not %d", n)
	}
	deep(maxDeep-30, 1)
	if n := used(1<<30, true, dir); n != 1<<30+1 {
		t.Errorf("too deep: %d", n)
	}
	if n := used(0, false, dir); n < 1<<20 || n > 2<<20 {
		t.Errorf("without a limit: %d", n)
	}
}
