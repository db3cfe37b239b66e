package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// terminal reports whether f is a file that is a terminal; /dev/null is none.
func terminal(f any) bool {
	file, ok := f.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(file.Fd()), unix.TCGETS)
	return err == nil
}
