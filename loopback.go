package s4t

import (
	"crypto/sha256"
	"net/netip"
)

// LoopbackFor returns the address of 127.64.0.0/10 that stands for who uses a
// service of a board: a user's name, or the IP address that a public port was
// reached from, of IPv6 the /64. The board connects from it, and the audit
// tells it, so that the service's own log and bans tell users apart. It is the
// same on every board, for ever; two of the four million may be the same.
func LoopbackFor(who string) netip.Addr {
	if ip, err := netip.ParseAddr(who); err == nil {
		ip = ip.Unmap().WithZone("")
		if ip.Is6() {
			ip = netip.PrefixFrom(ip, 64).Masked().Addr()
		}
		who = ip.String()
	}
	sum := sha256.Sum256([]byte(who))
	return netip.AddrFrom4([4]byte{127, 64 | sum[0]&63, sum[1], sum[2]})
}
