//go:build linux

package link

import (
	"context"
	"encoding/binary"
	"errors"
	"syscall"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/stack4things/s4t"
)

// Change is what became different in the host's network. The zero Change says
// that anything may have, as the kernel could not tell all.
type Change struct {
	Interface string // whose state, address, sysctl or rule it was; of a route: that it leads to
	Routes    bool   // an address of the host or a route of the main table was it
}

// changeGroups are what the kernel is asked to tell (linux/rtnetlink.h).
var changeGroups = []uint{
	unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE,
	unix.RTNLGRP_IPV4_RULE, unix.RTNLGRP_IPV6_RULE, unix.RTNLGRP_IPV4_NETCONF, unix.RTNLGRP_IPV6_NETCONF,
}

// changeBuffer is how many bytes of news wait for us before some are lost.
const changeBuffer = 1 << 20

// Watch calls changed, from one goroutine, for each change of the host's
// network until ctx ends; it then returns nil. It begins with a zero Change, for
// what was before. It works in the network namespace of the calling thread.
func Watch(ctx context.Context, changed func(Change)) error {
	const op = "watch this machine's interfaces"
	s, err := nl.Subscribe(unix.NETLINK_ROUTE, changeGroups...)
	if err != nil {
		return s4t.Errorf(s4t.Internal, op, "", "%w", err)
	}
	defer s.Close()
	defer context.AfterFunc(ctx, s.Close)()
	s.SetReceiveBufferSize(changeBuffer, false) // at worst it is smaller
	changed(Change{})
	for {
		messages, from, err := s.Receive()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, unix.ENOBUFS):
			changed(Change{})
			continue
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return s4t.Errorf(s4t.Internal, op, "", "%w", err)
		case from.Pid != 0: // not the kernel
			continue
		}
		for _, m := range messages {
			if c, ok := changeOf(m); ok {
				changed(c)
			}
		}
	}
}

// changeOf reads a message of the kernel. ok is false for what is no change
// that concerns us.
func changeOf(m syscall.NetlinkMessage) (c Change, ok bool) {
	switch m.Header.Type {
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		c.Interface = nl.BytesToString(attribute(m.Data, unix.SizeofIfInfomsg, unix.IFLA_IFNAME))
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		if len(m.Data) < unix.SizeofIfAddrmsg {
			return c, false
		}
		c.Interface, c.Routes = nameOf(m.Data[4:8]), true
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
		if len(m.Data) < unix.SizeofRtMsg || m.Data[4] != unix.RT_TABLE_MAIN {
			return c, false
		}
		c.Interface, c.Routes = nameOf(attribute(m.Data, unix.SizeofRtMsg, unix.RTA_OIF)), true
		return c, true // one without an interface too
	case unix.RTM_NEWRULE, unix.RTM_DELRULE:
		c.Interface = nl.BytesToString(attribute(m.Data, unix.SizeofRtMsg, nl.FRA_IIFNAME))
	case unix.RTM_NEWNETCONF, unix.RTM_DELNETCONF:
		c.Interface = nameOf(attribute(m.Data, 4, netconfIndex))
	}
	return c, c.Interface != ""
}

// netconfIndex is NETCONFA_IFINDEX (linux/netconf.h).
const netconfIndex = 1

// attribute returns the value of an attribute behind a header of so many bytes,
// nil if it is not there.
func attribute(data []byte, header int, kind uint16) []byte {
	if len(data) < header {
		return nil
	}
	attrs, err := nl.ParseRouteAttr(data[header:])
	if err != nil {
		return nil
	}
	for _, a := range attrs {
		if a.Attr.Type&nl.NLA_TYPE_MASK == kind {
			return a.Value
		}
	}
	return nil
}

// nameOf returns the name of the interface with an index, empty if there is
// none (any more).
func nameOf(index []byte) string {
	if len(index) < 4 {
		return ""
	}
	l, err := netlink.LinkByIndex(int(int32(binary.NativeEndian.Uint32(index))))
	if err != nil {
		return ""
	}
	return l.Attrs().Name
}
