// Package link is what we ask of the Linux kernel: TAP and TUN devices with
// offloads ([Open], [Device]), carrying out the plans of package vnet
// ([Apply]), seeing and undoing what others change ([Watch], [Restore]), and
// finding out what this process may do ([Probe]). It knows devices, not boards
// or networks.
//
// # Packets
//
// A packet here, on the data rtunnel and in the switch is always
//
//	virtio_net_hdr (10 bytes, little endian) | Ethernet frame (layer 2) or IP packet (layer 3)
//
// of up to [MaxPacket] bytes (linux/virtio_net.h, struct virtio_net_hdr without
// num_buffers). A header of zeros is a plain frame. Otherwise it says that the
// frame is a super-frame to be cut into segments of GSOSize bytes of payload,
// or that its checksum has still to be filled in. A device without offloads
// gives headers of zeros and, on [Device.Write], does in software what a header
// asks for ([Segment], [Complete]).
//
// Whoever receives a packet from outside calls [Validate] before it goes
// anywhere.
package link
