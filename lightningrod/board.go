package lightningrod

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/link"
)

// boardInfo says what this board is, for the cloud and its users.
func boardInfo(version string, caps link.Capabilities) s4t.BoardInfo {
	info := s4t.BoardInfo{
		Version:  version,
		OS:       runtime.GOOS,
		Arch:     runtime.GOARCH,
		Networks: caps.Networks,
		Resumes:  true,
		Records:  true,
	}
	info.Hostname, _ = os.Hostname()
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		info.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	return info.Clamp()
}
