package s4t

import (
	"fmt"
	"strings"
	"testing"
)

func TestProfile(t *testing.T) {
	for text, want := range map[string]float64{"": 0, "25%": 0.25, "0.25": 0.25, "150%": 1.5, "2": 2, "1%": 0.01, "12.5%": 0.125} {
		if got, err := ParseCPU(text); err != nil || got != want {
			t.Errorf("processors %q: %v, %v", text, got, err)
		}
	}
	for text, want := range map[string]int64{"": 0, "4096": 4096, "64M": 64 << 20, "1g": 1 << 30, "2T": 2 << 40, "10k": 10 << 10} {
		if got, err := ParseSize(text); err != nil || got != want {
			t.Errorf("size %q: %v, %v", text, got, err)
		}
	}
	for text, want := range map[string]int64{"": 0, "10M": 10_000_000, "64k": 64_000, "1G": 1_000_000_000} {
		if got, err := ParseBandwidth(text); err != nil || got != want {
			t.Errorf("bandwidth %q: %v, %v", text, got, err)
		}
	}
	for n, want := range map[int64]string{0: "0", 64 << 20: "64M", 1000: "1000", 3 << 30: "3G"} {
		if got := formatSize(n); got != want {
			t.Errorf("%d is %q", n, got)
		}
	}
	for _, p := range []Profile{
		{CPU: "0"}, {CPU: "0.5%"}, {CPU: "x"}, {CPU: "-25%"}, {CPU: "1e1"}, {CPU: "Inf"}, {CPU: "9999"}, {CPU: "."}, {CPU: "%"},
		{Memory: "0"}, {Memory: "64MB"}, {Memory: "1K"}, {Memory: "-1"}, {Memory: "9999999999T"}, {Memory: "M"}, {Disk: "1.5G"},
		{Bandwidth: "8K"}, {Bandwidth: "10Mbit"}, {Zone: "Europe/Atlantis"}, {Hours: "never"}, {Notice: "2h"}, {Notice: "-1s"}, {Notice: "1"},
	} {
		if err := p.Check(); KindOf(err) != Invalid {
			t.Errorf("%+v: %v", p, err)
		}
	}
	if err := (Profile{CPU: "25%", Memory: "64M", Disk: "200M", Bandwidth: "10M", Hours: "Mon-Fri 18:00-08:00", Zone: "Europe/Rome", Notice: "5m"}).Check(); err != nil {
		t.Error(err)
	}
	if err := (Profile{}).Check(); err != nil {
		t.Error(err)
	}
}

// formatSize is a number of bytes as ParseSize reads it: "64M".
func formatSize(n int64) string {
	unit := 0
	for ; n != 0 && n%1024 == 0 && unit < 4; unit++ {
		n /= 1024
	}
	return fmt.Sprint(n) + strings.TrimSpace(" KMGT"[unit:unit+1])
}
