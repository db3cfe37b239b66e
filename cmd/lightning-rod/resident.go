package main

import (
	"bufio"
	"bytes"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// startTakes is how long a board is given to come up before what that took is given back.
const startTakes = 20 * time.Second

// giveBackStart has the kernel unmap what it has mapped of the program's own file, and
// returns how many bytes that may be. Nearly all of the file is resident after the start
// (the kernel maps 64 KB around each page that is touched), and at rest half of it is used. What is
// needed again is mapped when it is touched, from the page cache or the file. Only mappings are
// taken that cannot be written and of which the process has no page of its own (the relocated
// ones of a PIE are such): of the others nothing is lost (madvise(2), MADV_DONTNEED).
func giveBackStart() (bytes uintptr) {
	self, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return 0
	}
	smaps, err := os.ReadFile("/proc/self/smaps") // none: a kernel without CONFIG_PROC_PAGE_MONITOR
	if err != nil {
		return 0
	}
	for _, m := range fileMappings(smaps, self) {
		if _, _, errno := unix.Syscall(unix.SYS_MADVISE, m[0], m[1]-m[0], unix.MADV_DONTNEED); errno == 0 {
			bytes += m[1] - m[0]
		}
	}
	return bytes
}

// fileMappings finds in proc_pid_smaps(5) where a file is mapped that nobody can write
// there, and nothing has been: begin and end.
func fileMappings(smaps []byte, file string) (list [][2]uintptr) {
	var m [2]uintptr // the mapping that the lines are about; zero: another
	for s := bufio.NewScanner(bytes.NewReader(smaps)); s.Scan(); {
		words := strings.Fields(s.Text())
		if len(words) >= 5 && strings.Contains(words[0], "-") {
			m = [2]uintptr{}
			begin, end, _ := strings.Cut(words[0], "-")
			a, errA := strconv.ParseUint(begin, 16, strconv.IntSize)
			b, errB := strconv.ParseUint(end, 16, strconv.IntSize)
			if errA == nil && errB == nil && a < b && strings.Join(words[5:], " ") == file && !strings.Contains(words[1], "w") {
				m = [2]uintptr{uintptr(a), uintptr(b)}
			}
			continue
		}
		if len(words) >= 2 && words[0] == "Anonymous:" && words[1] == "0" && m[1] > 0 {
			list = append(list, m)
		}
	}
	return list
}
