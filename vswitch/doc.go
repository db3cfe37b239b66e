// Package vswitch is the switch of one network: it takes frames from ports,
// checks and guards them, and lays them out for the ports they are for.
//
// It knows frames and ports; it does not know boards or tenants, and it opens
// nothing. A frame is always preceded by the 10-byte virtio_net_hdr (little
// endian; Linux include/uapi/linux/virtio_net.h), and may be a super-frame of
// up to 64 KB.
//
// # A frame's path
//
//	Port.Input      validate the header against the frame     switch.go
//	                parse, to the ports of TCP and UDP        frame.go
//	                guards: is the source the port's own?     guard.go, owners.go, prefix.go, dhcp.go
//	                answer ARP and ND for known ports         arp.go, nd.go
//	                storm limit, groups, loops                storm.go, snoop.go, loop.go
//	                other switches of the network             peer.go
//	                table: address -> port                    table.go, entries.go
//	                copy into the queue of the destination    queue.go
//	Port.Flush      write what the paths take at once         egress_direct.go
//	Port.Run        write the rest, as the path takes it      egress.go, pacer.go
//
// Input is called by one goroutine a port, the one that reads; Run is the one
// that writes. They meet only in the queue, for the length of one copy: a port
// whose Writer is blocked costs the others nothing. Nothing is allocated for a
// frame.
package vswitch
