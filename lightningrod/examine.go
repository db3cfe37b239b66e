package lightningrod

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
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
	if x.id != nil {
		x.ok("the board is " + x.id.Name + ", identity in " + string(x.dir))
		if _, _, damage := x.dir.desired(x.id.Board); damage != "" && x.running == nil {
			x.found(wire.DesiredDamaged, strings.Replace(damage, "was fetched", "will be fetched", 1), "")
		}
		return
	}
	_, err := x.dir.identity()
	switch {
	case err == nil: // the question is about another cloud
	case s4t.KindOf(err) == s4t.NotFound:
		x.found(wire.NotJoined, "this board has not joined a cloud (no identity in "+string(x.dir)+")", "")
	case errors.Is(err, fs.ErrPermission):
		x.found(wire.StateUnreadable, string(x.dir)+" may not be read by this user", "")
	default:
		x.found(wire.StateDamaged, bare(err), "")
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
	case x.id == nil:
	case x.running == nil:
		x.found(wire.NotRunning, "lightning-rod is not running", "")
	default:
		for _, p := range x.running.Problems {
			if x.running.Cause != "" && p == x.running.Trouble {
				x.found(x.running.Cause, "lightning-rod tells: "+p, "")
				continue
			}
			x.found(wire.AgentProblem, p, "")
		}
		if x.running.Connected {
			x.ok("lightning-rod runs and is connected to " + x.running.URL)
		} else if len(x.running.Problems) == 0 {
			x.found(wire.NotConnected, "lightning-rod runs and is not connected yet", "")
		}
	}
}

// checkPorts looks at what stands in the way of the board's ports.
func checkPorts(_ context.Context, x *examination) {
	if x.running == nil || len(x.running.Ports) == 0 {
		return
	}
	survey, err := x.look()
	there := map[string]bool{}
	for _, i := range survey.Interfaces {
		there[i.Name] = true
	}
	for _, p := range x.running.Ports {
		switch {
		case p.Problem == "":
		case there[p.Interface] && strings.HasPrefix(p.Problem, "create device "):
			x.found(wire.DeviceNameTaken, "port "+p.Interface+": "+p.Problem, "")
		default:
			x.found(wire.PortDown, "port "+p.Interface+": "+p.Problem, "")
		}
		if err == nil {
			x.overlap(p, survey)
		}
	}
}

// overlap finds networks of the board's own that a port's network covers, or
// is covered by.
func (x *examination) overlap(p PortStatus, s link.Survey) {
	own := func(iface string) bool { return strings.HasPrefix(iface, vnet.DevicePrefix) }
	for _, text := range p.Addresses {
		a, err := netip.ParsePrefix(text)
		if err != nil || a.Addr().IsLinkLocalUnicast() {
			continue
		}
		for _, r := range s.Routes {
			if r.To.Bits() > 0 && !own(r.Interface) && r.To.Overlaps(a.Masked()) {
				x.found(wire.AddressOverlap, fmt.Sprintf("the network %v of port %s overlaps %v, which this board reaches through %s", a.Masked(), p.Interface, r.To, r.Interface), "")
				return
			}
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
	if err := unix.Statfs(string(x.dir), &s); err != nil {
		return // there is no state yet
	}
	where := "the file system of " + string(x.dir)
	switch free := s.Bavail * uint64(s.Bsize); {
	case s.Flags&unix.ST_RDONLY != 0:
		x.found(wire.DiskReadOnly, where+" is read-only", "")
	case s.Bavail == 0:
		x.found(wire.DiskFull, where+" is full", "")
	case s.Files > 0 && s.Ffree == 0:
		x.found(wire.DiskFull, where+" has no free inode", "")
	case free < minFree:
		x.found(wire.DiskLow, fmt.Sprintf("only %d KiB are free in %s", free>>10, where), "")
	case unix.Access(string(x.dir), unix.W_OK) != nil:
		x.found(wire.StateNotWritable, string(x.dir)+" may not be written by this user", "")
	default:
		x.ok(fmt.Sprintf("%d MiB are free for the state", free>>20))
	}
}

func checkNetworks(_ context.Context, x *examination) {
	if x.caps == nil {
		caps := link.Probe()
		x.caps = &caps
	}
	if x.caps.Networks {
		x.ok("devices can be made, offloads: " + x.caps.Offloads.String())
		return
	}
	id := wire.NoNetworks
	switch x.caps.Kind {
	case s4t.Unavailable:
		id = wire.NoTun
	case s4t.Forbidden:
		id = wire.NoNetAdmin
	}
	x.found(id, "virtual networks are not possible here: "+x.caps.Reason, "")
}
