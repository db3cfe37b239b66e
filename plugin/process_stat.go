package plugin

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// stat is what the kernel says of one process.
type stat struct {
	session int
	cpu     time.Duration
	memory  int64
}

// userHZ is the unit of times in /proc (proc(5)): 100 on all that Go runs on.
const userHZ = 100

// statOf reads /proc/PID/stat (proc(5)); zero for one that is gone or a zombie.
func statOf(pid int) stat {
	_, rest, ok := strings.Cut(readText(filepath.Join("/proc", strconv.Itoa(pid), "stat")), ") ")
	fields := strings.Fields(rest)
	if !ok || len(fields) < 22 || fields[0] == "Z" || fields[0] == "X" {
		return stat{}
	}
	number := func(i int) int64 { n, _ := strconv.ParseInt(fields[i], 10, 64); return n }
	return stat{
		session: int(number(3)),
		cpu:     time.Duration(number(11)+number(12)+number(13)+number(14)) * time.Second / userHZ,
		memory:  number(21) * int64(os.Getpagesize()),
	}
}
