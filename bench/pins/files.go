package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// warm is how many rounds are not counted.
const warm = 50

// pollEdges writes 1 and 0 to a pin and waits for each in poll(2) on another,
// and prints how long that took, in microseconds.
func pollEdges(out, in string, n int) error {
	runtime.LockOSThread()
	w, err := unix.Open(out, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", out, err)
	}
	r, err := unix.Open(in, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", in, err)
	}
	buf := make([]byte, 64)
	fds := []unix.PollFd{{Fd: int32(r), Events: unix.POLLPRI}}
	if _, err := unix.Pread(r, buf, 0); err != nil {
		return fmt.Errorf("read %s: %w", in, err)
	}
	unix.Poll(fds, 0) // the watch begins
	time.Sleep(time.Second)
	type wrote struct {
		at  time.Time
		err error
	}
	orders, done := make(chan byte), make(chan wrote, 1)
	defer close(orders)
	go func() {
		runtime.LockOSThread()
		for v := range orders {
			at := time.Now()
			_, err := unix.Pwrite(w, []byte{v, '\n'}, 0)
			done <- wrote{at, err}
		}
	}()
	for i := range n + warm {
		v := byte('1' - i%2)
		for { // what is still to come from before
			if _, err := unix.Pread(r, buf, 0); err != nil {
				return fmt.Errorf("read %s: %w", in, err)
			}
			if ready, _ := unix.Poll(fds, 0); ready == 0 {
				break
			}
		}
		orders <- v
		for {
			ready, err := unix.Poll(fds, 5000)
			if err == unix.EINTR {
				continue
			}
			if err != nil || ready == 0 {
				return fmt.Errorf("poll %s after %d edges: %d, %v", in, i, ready, err)
			}
			break
		}
		at := time.Now()
		sent := <-done
		if sent.err != nil {
			return fmt.Errorf("write %s: %w", out, sent.err)
		}
		if i >= warm {
			fmt.Println(float64(at.Sub(sent.at).Nanoseconds()) / 1e3)
		}
	}
	return nil
}

// readFile reads a pin, open all the time, and prints how long each took, in
// microseconds.
func readFile(name string, n int) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	fd, buf := int(f.Fd()), make([]byte, 64)
	took := make([]float64, 0, n)
	for i := range n + warm {
		at := time.Now()
		if _, err := unix.Pread(fd, buf, 0); err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		if d := time.Since(at); i >= warm {
			took = append(took, float64(d.Nanoseconds())/1e3)
		}
	}
	for _, t := range took {
		fmt.Println(t)
	}
	return nil
}

// figures runs this program with a flag and returns the numbers it prints.
func figures(ctx context.Context, args ...string) ([]float64, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	var text, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Stdout, cmd.Stderr = &text, &errs
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%v: %w: %s", args, err, errs.String())
	}
	var list []float64
	for word := range strings.FieldsSeq(text.String()) {
		v, err := strconv.ParseFloat(word, 64)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, nil
}
