package lightningrod

import (
	"net"
	"net/netip"
	"strings"
	"testing"
)

const procHead = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"

func TestListenersAreThoseOfTheKernel(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	tcpPort := l.Addr().(*net.TCPAddr).Port
	own := netip.MustParseAddr("127.0.0.1")
	all, err := readListeners()
	if err != nil {
		t.Fatal(err)
	}
	if found, ok := all.at(own, tcpPort); !ok || found.inode == 0 {
		t.Errorf("%+v is not among %v", found, all)
	}
	if _, ok := all.at(netip.MustParseAddr("127.0.0.2"), tcpPort); ok {
		t.Error("it is found at an address where it does not listen")
	}
	l.Close()
	if all, _ = readListeners(); len(all) > 0 {
		if _, ok := all.at(own, tcpPort); ok {
			t.Error("it is found after it was closed")
		}
	}
}

// FuzzListeners: a table that nobody's kernel wrote ends nothing.
func FuzzListeners(f *testing.F) {
	f.Add(procHead + "   0: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0\n")
	f.Add(procHead + "   0: 00000000000000000000000001000000:1F90 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4712 1 0\n")
	f.Add(procHead + "   0: 0100007F:0016 0100007F:0017 01 0 0 0 0 0 1\n")
	f.Fuzz(func(t *testing.T, table string) {
		for _, l := range parseListeners(strings.NewReader(table)) {
			if !l.at.Addr().IsValid() {
				t.Errorf("%+v", l)
			}
			if _, ok := (listeners{l}).at(l.at.Addr(), int(l.at.Port())); !ok {
				t.Errorf("%+v does not listen where it does", l)
			}
		}
	})
}
