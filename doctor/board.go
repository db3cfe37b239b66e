package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/link"
	"github.com/stack4things/s4t/vnet"
	"github.com/stack4things/s4t/wire"
)

// The checks of the board itself. Each states as certain only what it saw.

func checkState(_ context.Context, x *examination) {
	switch {
	case x.Identity != nil:
		x.ok("the board is " + x.Identity.Name + ", identity in " + x.State)
		if x.Damage != "" && x.Running == nil {
			x.found(wire.DesiredDamaged, strings.Replace(x.Damage, "was fetched", "will be fetched", 1), "")
		}
	case x.Unreadable == nil: // the question is about another cloud
	case s4t.KindOf(x.Unreadable) == s4t.NotFound:
		x.found(wire.NotJoined, "this board has not joined a cloud (no identity in "+x.State+")", "")
	case errors.Is(x.Unreadable, fs.ErrPermission):
		x.found(wire.StateUnreadable, x.State+" may not be read by this user", "")
	default:
		x.found(wire.StateDamaged, bare(x.Unreadable), "")
	}
}

// bare is the text of an error without what to do about it.
func bare(err error) string {
	e, ok := errors.AsType[*s4t.Error](err)
	if !ok {
		return err.Error()
	}
	b := *e
	b.Hint = ""
	return b.Error()
}

func checkAgent(_ context.Context, x *examination) {
	switch {
	case x.Identity == nil:
	case x.Running == nil:
		x.found(wire.NotRunning, "lightning-rod is not running", "")
	default:
		for _, p := range x.Running.Problems {
			if x.Running.Cause != "" && p == x.Running.Trouble {
				x.found(x.Running.Cause, "lightning-rod tells: "+p, "")
				continue
			}
			x.found(wire.AgentProblem, p, "")
		}
		if x.Running.Connected {
			x.ok("lightning-rod runs and is connected to " + x.Running.URL)
		} else if len(x.Running.Problems) == 0 {
			x.found(wire.NotConnected, "lightning-rod runs and is not connected yet", "")
		}
	}
}

// diagnosisOf is the diagnosis that a problem of the board names, where it is of
// what is checked; others are of what that stands on, and found there.
func diagnosisOf(problemID, check, otherwise string) string {
	if d, ok := wire.Diagnose(problemID); ok && d.Check == check {
		return d.ID
	}
	return otherwise
}

// checkPorts looks at what stands in the way of the board's ports.
func checkPorts(ctx context.Context, x *examination) {
	if x.Running == nil || len(x.Running.Ports) == 0 {
		return
	}
	survey, err := x.survey()
	for _, p := range x.Running.Ports {
		if p.Problem != "" {
			x.found(diagnosisOf(p.ProblemID, "port", wire.PortDown), "port "+p.Interface+": "+p.Problem, "")
		}
		if err == nil && p.ProblemID != wire.AddressOverlap {
			x.overlap(p, survey)
		}
	}
	if slices.ContainsFunc(survey.Interfaces, func(i link.Interface) bool { return strings.HasPrefix(i.Name, vnet.BridgePrefix) }) {
		for _, d := range x.drops(ctx) {
			x.found(wire.ForwardDropped, fmt.Sprintf("the firewall of this board (%s) drops what it has no rule for, also what a port with --bridge-to forwards; %d packets so far", d.Chain, d.Packets), "")
		}
	}
}

// checkPlugins looks at what stands in the way of the board's plugins.
func checkPlugins(_ context.Context, x *examination) {
	if x.Running == nil {
		return
	}
	for _, p := range x.Running.Plugins {
		x.found(diagnosisOf(p.ProblemID, "plugin", wire.PluginFailed), "plugin "+p.Name+": "+p.Problem, "")
	}
}

// checkServices looks at what stands in the way of the board's services.
func checkServices(_ context.Context, x *examination) {
	if x.Running == nil {
		return
	}
	for _, s := range x.Running.Services {
		x.found(diagnosisOf(s.ProblemID, "service", wire.ServiceDown), "service "+s.Target+": "+s.Problem, "")
	}
}

// overlap finds networks of the board's own that a port's network covers, or
// is covered by.
func (x *examination) overlap(p Port, s link.Survey) {
	reached := s.Reached()
	for _, text := range p.Addresses {
		a, err := netip.ParsePrefix(text)
		if err != nil || a.Addr().IsLinkLocalUnicast() {
			continue
		}
		if r, ok := link.Overlap(reached, a.Masked()); ok {
			x.found(wire.AddressOverlap, fmt.Sprintf("the network %v of port %s overlaps %v, which this board reaches through %s", a.Masked(), p.Interface, r.To, r.Interface), "")
			return
		}
	}
}

// built is a time that has passed for certain.
var built = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func checkClock(_ context.Context, x *examination) {
	switch {
	case x.now.Before(built):
		x.found(wire.ClockPast, "the board's clock says "+x.now.UTC().Format(time.DateOnly)+", which is past", "")
	case !x.cloudNow.IsZero() && x.now.Sub(x.cloudNow).Abs() > time.Minute:
		x.found(wire.ClockOff, fmt.Sprintf("the board's clock is %v off the cloud's", x.now.Sub(x.cloudNow).Round(time.Second)), "")
	default:
		x.ok("the clock says " + x.now.UTC().Format(time.DateTime) + " UTC")
	}
}

// minFree is what a board's state may need, in bytes.
const minFree = 1 << 20

func checkDisk(_ context.Context, x *examination) {
	var s unix.Statfs_t
	if err := unix.Statfs(x.State, &s); err != nil {
		return // there is no state yet
	}
	where := "the file system of " + x.State
	switch free := s.Bavail * uint64(s.Bsize); {
	case s.Flags&unix.ST_RDONLY != 0:
		x.found(wire.DiskReadOnly, where+" is read-only", "")
	case s.Bavail == 0:
		x.found(wire.DiskFull, where+" is full", "")
	case s.Files > 0 && s.Ffree == 0:
		x.found(wire.DiskFull, where+" has no free inode", "")
	case free < minFree:
		x.found(wire.DiskLow, fmt.Sprintf("only %d KiB are free in %s", free>>10, where), "")
	case unix.Access(x.State, unix.W_OK) != nil:
		x.found(wire.StateNotWritable, x.State+" may not be written by this user", "")
	default:
		x.ok(fmt.Sprintf("%d MiB are free for the state", free>>20))
	}
}

func checkNetworks(_ context.Context, x *examination) {
	if x.Capabilities == nil {
		caps := link.Probe()
		x.Capabilities = &caps
	}
	if x.Capabilities.Networks {
		x.ok("devices can be made, offloads: " + x.Capabilities.Offloads.String())
		return
	}
	id := wire.NoNetworks
	switch x.Capabilities.Kind {
	case s4t.Unavailable:
		id = wire.NoTun
	case s4t.Forbidden:
		id = wire.NoNetAdmin
	}
	x.found(id, "virtual networks are not possible here: "+x.Capabilities.Reason, "")
}
