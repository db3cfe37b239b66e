package lightningrod

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"io"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// What listens on this board is read from the kernel's tables: nothing is
// connected to in order to know it.

// listener is a TCP socket that listens.
type listener struct {
	at    netip.AddrPort // unspecified: at every address
	inode uint64         // of the socket, which a restarted service has another of
}

// listeners are those of this board.
type listeners []listener

// maxListeners bounds what is read of one table.
const maxListeners = 4096

// readListeners reads both tables (Documentation/networking/proc_net_tcp.rst).
func readListeners() (all listeners, err error) {
	for _, table := range []string{"/proc/self/net/tcp", "/proc/self/net/tcp6"} {
		f, ferr := os.Open(table)
		if ferr != nil { // a kernel without IPv6 has no tcp6
			if table == "/proc/self/net/tcp" {
				err = ferr
			}
			continue
		}
		all = append(all, parseListeners(f)...)
		f.Close()
	}
	return all, err
}

// parseListeners reads one table. The kernel puts those that listen first
// (tcp_seq_start in net/ipv4/tcp_ipv4.c): the many connections behind them are
// not read.
func parseListeners(r io.Reader) (found listeners) {
	const listen = "0A" // TCP_LISTEN
	lines := bufio.NewScanner(r)
	lines.Scan() // the heads
	for lines.Scan() && len(found) < maxListeners {
		f := strings.Fields(lines.Text())
		if len(f) < 10 || f[3] != listen {
			return found
		}
		at, ok := parseHexAddrPort(f[1])
		if !ok {
			continue
		}
		inode, _ := strconv.ParseUint(f[9], 10, 64)
		found = append(found, listener{at, inode})
	}
	return found
}

// parseHexAddrPort reads "0100007F:0016": each 32 bits of the address as the
// machine stores them, the port as people write it.
func parseHexAddrPort(text string) (at netip.AddrPort, ok bool) {
	host, tcpPort, _ := strings.Cut(text, ":")
	b, err := hex.DecodeString(host)
	n, perr := strconv.ParseUint(tcpPort, 16, 16)
	if err != nil || perr != nil || len(b)%4 != 0 {
		return at, false
	}
	for i := 0; i < len(b); i += 4 {
		binary.NativeEndian.PutUint32(b[i:], binary.BigEndian.Uint32(b[i:]))
	}
	ip, ok := netip.AddrFromSlice(b)
	return netip.AddrPortFrom(ip.Unmap(), uint16(n)), ok
}

// at finds who listens at an address, nobody: ok is false. A socket of :: is
// taken to listen on IPv4 too, as it does unless it said that it will not.
func (ls listeners) at(ip netip.Addr, tcpPort int) (found listener, ok bool) {
	ip = ip.Unmap().WithZone("")
	for _, l := range ls {
		if int(l.at.Port()) != tcpPort {
			continue
		}
		if l.at.Addr() == ip {
			return l, true
		}
		if a := l.at.Addr(); a == netip.IPv6Unspecified() || a == netip.IPv4Unspecified() && ip.Is4() {
			found, ok = l, true
		}
	}
	return found, ok
}
