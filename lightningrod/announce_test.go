package lightningrod

import (
	"encoding/hex"
	"testing"

	"github.com/stack4things/s4t/link"
)

func TestAnnouncementsAreWellFormed(t *testing.T) {
	d := testPort()
	d.Addresses = []string{"10.77.0.2/24", "fd00:77::2/64"}
	got := announcements(d)
	// The second is what Linux sends (ndisc_notify) for the same address and MAC.
	want := []string{
		"ffffffffffff0200000000010806" + "0001080006040001" + "020000000001" + "0a4d0002" + "000000000000" + "0a4d0002" + "000000000000000000000000000000000000",
		"33330000000102000000000186dd" + "6000000000203aff" + "fd000077000000000000000000000002" + "ff020000000000000000000000000001" +
			"8800" + "0000" + "20000000" + "fd000077000000000000000000000002" + "0201020000000001",
	}
	if len(got) != len(want) {
		t.Fatalf("%d packets, want %d", len(got), len(want))
	}
	for i, packet := range got {
		if err := link.Validate(packet, 2); err != nil {
			t.Errorf("packet %d: %v", i, err)
		}
		frame := packet[link.HeaderLen:]
		if i == 1 {
			if sum := icmp6Sum(frame[etherLen+8:etherLen+ip6Len], frame[etherLen+ip6Len:]); sum != 0 {
				t.Errorf("the checksum does not add up: %#x", sum)
			}
			frame[etherLen+ip6Len+2], frame[etherLen+ip6Len+3] = 0, 0
		}
		if hex.EncodeToString(frame) != want[i] {
			t.Errorf("packet %d\n got %x\nwant %s", i, frame, want[i])
		}
	}
	d.Layer = 3
	if got := announcements(d); len(got) != 0 {
		t.Errorf("%d announcements on layer 3, want none", len(got))
	}
}
