package lightningrod

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"syscall"

	"github.com/stack4things/s4t"
)

// The path of a Unix socket has at most 107 bytes (unix(7)). Where the state directory is
// so deep that those of plugins are longer, they are in a folder of their own elsewhere.

const (
	maxSocketPath = 107 // bytes
	longestSocket = len("/") + 36 + len("/board/"+apiSocket)
)

// socketsPrefix begins the name of that folder, for this state directory only.
func (d stateDir) socketsPrefix() string {
	path, err := filepath.Abs(string(d))
	if err != nil {
		path = string(d)
	}
	sum := sha256.Sum256([]byte(path))
	return "lightning-rod-" + hex.EncodeToString(sum[:8]) + "-"
}

// socketsParents are where it may be.
func socketsParents() []string {
	if os.Geteuid() == 0 {
		return []string{"/run", os.TempDir(), "/tmp"}
	}
	return []string{os.Getenv("XDG_RUNTIME_DIR"), os.TempDir(), "/tmp"}
}

// openSockets makes the folder where one is needed, else it returns "". Guests come
// through it, and cannot list it. The lock of the state is held.
func (d stateDir) openSockets() (string, error) {
	d.sweepSockets()
	plugins, err := filepath.Abs(d.path(pluginsDir))
	if err != nil || len(plugins)+longestSocket <= maxSocketPath {
		return "", err
	}
	err = s4t.Errorf(s4t.Unavailable, "make a folder for the sockets of plugins", "name a shorter directory with --state", "there is no place for it")
	for _, parent := range socketsParents() {
		if !filepath.IsAbs(parent) {
			continue
		}
		dir, failed := os.MkdirTemp(parent, d.socketsPrefix()+"*")
		if failed == nil && len(dir)+longestSocket > maxSocketPath {
			os.Remove(dir)
			continue
		}
		if failed == nil {
			failed = os.Chmod(dir, 0o711)
		}
		if failed == nil {
			return dir, nil
		}
		err = failed
	}
	return "", err
}

// sweepSockets removes what a lightning-rod has left that was killed.
func (d stateDir) sweepSockets() {
	for _, parent := range socketsParents() {
		if !filepath.IsAbs(parent) {
			continue
		}
		left, _ := filepath.Glob(filepath.Join(parent, d.socketsPrefix()+"*")) // fails for a malformed pattern only
		for _, dir := range left {
			info, err := os.Lstat(dir)
			if err != nil || !info.IsDir() || int(info.Sys().(*syscall.Stat_t).Uid) != os.Geteuid() {
				continue // somebody else's
			}
			os.RemoveAll(dir)
		}
	}
}
