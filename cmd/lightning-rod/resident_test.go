package main

import (
	"os"
	"reflect"
	"testing"
)

// TestWhatIsGivenBack: mappings of the program alone, read only, and without a page that
// is not the file's.
func TestWhatIsGivenBack(t *testing.T) {
	const smaps = `00400000-00800000 r-xp 00000000 fe:00 7  /bin/rod
Size:                  8 kB
Anonymous:             0 kB
00800000-00900000 r--p 00400000 fe:00 7  /bin/rod
Anonymous:             4 kB
00900000-00a00000 rw-p 00500000 fe:00 7  /bin/rod
Anonymous:             0 kB
00a00000-00b00000 r--p 00000000 00:00 0
Anonymous:             0 kB
00b00000-00c00000 r--p 00000000 fe:00 8  /bin/rod (deleted)
Anonymous:             0 kB
00c00000-00d00000 r--s 00000000 fe:00 7  /bin/rod
Anonymous:             0 kB
`
	want := [][2]uintptr{{0x400000, 0x800000}, {0xc00000, 0xd00000}}
	if got := fileMappings([]byte(smaps), "/bin/rod"); !reflect.DeepEqual(got, want) {
		t.Errorf("they are %x, not %x", got, want)
	}
	if _, err := os.Stat("/proc/self/smaps"); err != nil {
		t.Skip("this kernel has no /proc/self/smaps")
	}
	if giveBackStart() == 0 { // and the test goes on
		t.Error("nothing of this program can be given back")
	}
}
