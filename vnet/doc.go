// Package vnet says, as pure functions, what a virtual network should look
// like on a host: names and MACs of devices, addresses, MTU arithmetic, and
// the ordered, idempotent operations that realise a port ([Op]). Package link
// carries them out; nothing here touches a kernel.
//
// Addresses: the first address of a subnet is kept for a router, ports get the
// ones from the second on. A network has IPv4 addresses from a /24 by default;
// IPv6 addresses are given only where a prefix was asked for (link-local IPv6
// works on layer 2 all the same).
package vnet
