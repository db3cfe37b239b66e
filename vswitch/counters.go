package vswitch

import (
	"sync/atomic"

	"github.com/stack4things/s4t"
)

// reason is why a frame did not pass.
type reason int

const (
	pass reason = iota
	spoofedMAC
	spoofedARP
	spoofedND
	spoofedIP
	dhcpServer
	routerAdvertisement
	bpdu
	storm
	macLimited
	loop
	queueFull
	invalid
	noDestination
	answered // no drop: the switch answered it, or it concerned the switch only
	reasons
)

// counters of a port.
type counters struct {
	rxFrames, rxBytes atomic.Uint64
	txFrames, txBytes atomic.Uint64
	dropped           [reasons]atomic.Uint64
}

func (c *counters) snapshot() s4t.PortCounters {
	d := func(r reason) uint64 { return c.dropped[r].Load() }
	return s4t.PortCounters{
		RxFrames: c.rxFrames.Load(), RxBytes: c.rxBytes.Load(),
		TxFrames: c.txFrames.Load(), TxBytes: c.txBytes.Load(),
		Dropped: s4t.PortDropped{
			SpoofedMAC: d(spoofedMAC), SpoofedARP: d(spoofedARP), SpoofedND: d(spoofedND), SpoofedIP: d(spoofedIP),
			DHCPServer: d(dhcpServer), RouterAdvertisement: d(routerAdvertisement), BPDU: d(bpdu),
			Storm: d(storm), MACLimit: d(macLimited), Loop: d(loop), QueueFull: d(queueFull), Invalid: d(invalid),
			NoDestination: d(noDestination),
		},
	}
}
