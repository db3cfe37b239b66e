package plugin

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// The test binary is the stub of its sandboxes, and some of its guests.
func TestMain(m *testing.M) {
	if IsStub(os.Args) {
		StubMain()
	}
	if IsHost(os.Args) {
		HostMain()
	}
	if len(os.Args) > 2 && os.Args[1] == "guest" {
		os.Exit(guests[os.Args[2]]())
	}
	code := m.Run()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, "goleak:", err)
			code = 1
		}
	}
	os.Exit(code)
}
