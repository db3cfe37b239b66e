package lightningrod

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSocketsOfADeepStateDirectory: a plugin can open them, however deep it is, and
// nothing of a lightning-rod that was killed is left.
func TestSocketsOfADeepStateDirectory(t *testing.T) {
	if dir, err := stateDir("/var/lib/lightning-rod").openSockets(); dir != "" || err != nil {
		t.Errorf("of the default directory: %q, %v", dir, err)
	}
	deep := stateDir(filepath.Join(t.TempDir(), strings.Repeat("d", 60), strings.Repeat("e", 60)))
	killed, err := deep.openSockets()
	if err != nil || killed == "" {
		t.Fatalf("%q, %v", killed, err)
	}
	dir, err := deep.openSockets()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(killed); err == nil {
		t.Error("what a killed one had is left")
	}
	path := filepath.Join(dir, strings.Repeat("i", 36), "board", apiSocket)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Error(err)
	} else {
		l.Close()
	}
	deep.sweepSockets()
	if _, err := os.Stat(dir); err == nil {
		t.Error("it is left")
	}
}
