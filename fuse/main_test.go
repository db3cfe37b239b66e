//go:build linux

package fuse

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

func verify(m *testing.M) int {
	code := m.Run()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, "goleak:", err)
			return 1
		}
	}
	return code
}

func TestMain(m *testing.M) {
	if role := os.Getenv("S4T_FUSE_TEST"); role != "" {
		os.Exit(roles[role]())
	}
	os.Exit(verify(m))
}
