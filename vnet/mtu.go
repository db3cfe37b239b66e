package vnet

import "github.com/stack4things/s4t"

// Header lengths in bytes.
const (
	EthernetHeader = 14 // RFC 894
	VLANTag        = 4  // IEEE 802.1Q
	IPv4Header     = 20 // RFC 791, no options
	GREHeader      = 8  // RFC 2784 with the key of RFC 2890
)

// MinIPv6MTU is the smallest MTU on which IPv6 runs (RFC 8200 section 5);
// Linux takes IPv6 off a device with a smaller one.
const MinIPv6MTU = 1280

// GREOverhead is what the paper's layering puts around an IP packet of a
// network: inner Ethernet, GRE with key, outer IPv4.
const GREOverhead = EthernetHeader + GREHeader + IPv4Header

// GREMTU returns the MTU of a network whose frames leave the tunnel agent in
// GRE over links of that MTU (1500 gives 1458). Inside an rtunnel no such
// bound holds: it is a byte stream and frames of any size travel whole.
func GREMTU(linkMTU int) int { return linkMTU - GREOverhead }

// The longest Ethernet frame that is not a super-frame, with two VLAN tags, is
// one that we carry.
const _ = uint(s4t.MaxFrame - (EthernetHeader + 2*VLANTag + s4t.MaxMTU))
