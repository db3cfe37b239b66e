// Package proc reads of the kernel what processes that are measured use (proc(5)).
package proc

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// CPU is the processor time that processes have used so far, in seconds; one that is not
// there has used none.
func CPU(pids ...int) float64 {
	var ticks float64
	for _, pid := range pids {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue
		}
		f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
		for _, i := range []int{11, 12} { // utime, stime (proc_pid_stat(5), fields 14 and 15)
			v, _ := strconv.ParseFloat(f[i], 64)
			ticks += v
		}
	}
	return ticks / 100 // USER_HZ
}

// RSS is the resident memory of a process, in MiB.
func RSS(pid int) float64 { return Status(pid, "VmRSS:") }

// Status is a size in proc_pid_status(5), in MiB; 0 where the process or the line is not there.
func Status(pid int, line string) float64 {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, rest, _ := strings.Cut(string(b), line)
	if f := strings.Fields(rest); len(f) > 0 {
		kb, _ := strconv.ParseFloat(f[0], 64)
		return kb / 1024
	}
	return 0
}
