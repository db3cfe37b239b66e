package lightningrod

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/link"
)

// boardInfo says what this board is, for the cloud and its users.
func boardInfo(version, sshDir string, caps link.Capabilities) s4t.BoardInfo {
	info := s4t.BoardInfo{
		Version:  version,
		OS:       runtime.GOOS,
		Arch:     runtime.GOARCH,
		HostKeys: hostKeys(sshDir),
		Networks: caps.Networks,
	}
	info.Hostname, _ = os.Hostname()
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		info.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	return info.Clamp()
}

// hostKeys returns the public SSH host keys of the board, without comments, so
// that `s4t ssh` knows them before the first connection.
func hostKeys(dir string) []string {
	files, _ := filepath.Glob(filepath.Join(dir, "ssh_host_*_key.pub"))
	var keys []string
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		if f := strings.Fields(string(b)); len(f) >= 2 {
			keys = append(keys, f[0]+" "+f[1])
		}
	}
	return keys
}
