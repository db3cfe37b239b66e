package s4t

import (
	"fmt"
	"testing"
)

func TestWavesOfAFleet(t *testing.T) {
	for _, tt := range []struct {
		sizes  string
		boards int
		want   string
	}{
		{"1,10%,100%", 200, "1: 1 (1), 2: 19 (10%), 3: 180 (100%)"},
		{"1,10%,100%", 1, "1: 1 (1)"},
		{"1,10%,100%", 5, "1: 1 (1), 2: 4 (100%)"},
		{"50%", 3, "1: 2 (50%), 2: 1 (100%)"},
		{"7", 3, "1: 3 (7)"},
		{"3,1,100%", 4, "1: 3 (3), 2: 1 (100%)"},
	} {
		sizes, err := ParseWaves("", tt.sizes)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for i, w := range WavesOf(sizes, tt.boards) {
			if i > 0 {
				got += ", "
			}
			got += fmt.Sprintf("%d: %d (%s)", w.Number, w.Boards, w.Size)
		}
		if got != tt.want {
			t.Errorf("%s of %d: %s, want %s", tt.sizes, tt.boards, got, tt.want)
		}
	}
	for _, bad := range []string{"", "1,", "0", "0%", "101%", "-1", "+1", "1.5", "x", "5001", "1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1"} {
		if _, err := ParseWaves("", bad); KindOf(err) != Invalid {
			t.Errorf("%q: %v", bad, err)
		}
	}
	for text, of100 := range map[string]int{"0": 0, "3": 3, "5%": 5, "0%": 0, "100%": 100} {
		s, err := ParseShare("", text)
		if err != nil || s.AtMost(100) != of100 || s.String() != text {
			t.Errorf("%q: %+v, %v", text, s, err)
		}
	}
}

func FuzzParseWaves(f *testing.F) {
	f.Add("1,10%,100%", 200)
	f.Fuzz(func(t *testing.T, text string, n int) {
		sizes, err := ParseWaves("", text)
		if err != nil || n < 1 || n > MaxFleetBoards {
			return
		}
		all := 0
		for i, w := range WavesOf(sizes, n) {
			if w.Number != i+1 || w.Boards < 1 {
				t.Fatalf("%q of %d: %+v", text, n, w)
			}
			all += w.Boards
		}
		if all != n {
			t.Fatalf("%q of %d boards has %d", text, n, all)
		}
	})
}
