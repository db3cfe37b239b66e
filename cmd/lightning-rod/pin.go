package main

import (
	"context"
	"fmt"
	"os/exec"

	"github.com/stack4things/s4t/lightningrod"
)

// noIO is what --io says where the tree of pins is to be nowhere.
const noIO = "none"

// ioDir is where the tree of pins is to be; empty: nowhere.
func (o options) ioDir() string {
	if o.io == noIO {
		return ""
	}
	return o.io
}

// guardCommand is not shown: lightning-rod starts it.
const guardCommand = "pin-guard"

// pinGuard is the process that has outputs fall back when lightning-rod dies.
func pinGuard() *exec.Cmd {
	return exec.Command("/proc/self/exe", guardCommand)
}

// mount shows the pins of other boards until ctx ends.
func mount(ctx context.Context, o options) error {
	return lightningrod.Mount(ctx, lightningrod.MountConfig{
		Dir: o.args[0], State: o.state, Boards: o.boards, Log: o.log(),
		Ready: func() { fmt.Fprintf(o.stdout, "mounted %s\n", o.args[0]) },
	})
}
