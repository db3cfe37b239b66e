package fuse

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"strings"
)

// mounted is a line of /proc/self/mountinfo (proc_pid_mountinfo(5)).
type mounted struct {
	device string // MAJOR:MINOR; "": none
	kind   string // of file system: fuse.s4t
}

// mountedAt returns what is mounted at dir, uppermost. It asks nothing of the
// file system there.
func mountedAt(dir string) mounted {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return mounted{}
	}
	defer f.Close()
	return parseMounts(f, dir)
}

// parseMounts finds the last line that is of dir. Lines that it does not
// understand, and what comes after one that is over 64 KB, it passes over.
func parseMounts(r io.Reader, dir string) (m mounted) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		// 36 35 98:0 /root /mount/point rw,noatime master:1 - ext3 /dev/root rw,errors=continue
		before, after, ok := bytes.Cut(lines.Bytes(), []byte(" - "))
		fields := bytes.Fields(before)
		if !ok || len(fields) < 5 || unescape(string(fields[4])) != dir {
			continue
		}
		kind, _, _ := bytes.Cut(after, []byte(" "))
		m = mounted{device: string(fields[2]), kind: string(kind)}
	}
	return m
}

// unescape reads the kernel's \040 for a space, and so on.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			var c uint
			octal := true
			for _, d := range []byte(s[i+1 : i+4]) {
				octal = octal && d >= '0' && d <= '7'
				c = c<<3 + uint(d-'0')
			}
			if octal && c < 256 {
				b.WriteByte(byte(c))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
