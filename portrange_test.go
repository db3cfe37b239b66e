package s4t

import "testing"

func TestARangeHasOneForm(t *testing.T) {
	for text, want := range map[string]PortRange{"": {}, "50000-60000": {50000, 60000}, "22": {22, 22}, "1-65535": {1, 65535}} {
		if r, err := ParsePortRange(text); err != nil || r != want {
			t.Errorf("%q is %v, %v", text, r, err)
		}
	}
	for _, text := range []string{"50000 - 60000", "50000-60000x", " 22", "9-1", "1-", "-1", "0-9", "1-65536", "+1-2", "01-02", "1-2-3"} {
		if r, err := ParsePortRange(text); KindOf(err) != Invalid {
			t.Errorf("%q is %v, %v", text, r, err)
		}
	}
}

// FuzzPortRange: what is a range has its bounds, and reads as it is written.
func FuzzPortRange(f *testing.F) {
	for _, s := range []string{"50000-60000", "9-1", "1-", "007", "22"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParsePortRange(s)
		if err != nil || s == "" {
			return
		}
		if r.First < 1 || r.Last > 65535 || r.First > r.Last || !r.Has(r.First) || !r.Has(r.Last) || r.Has(r.First-1) || r.Has(r.Last+1) {
			t.Errorf("%q is %+v", s, r)
		}
		if again, err := ParsePortRange(r.String()); err != nil || again != r {
			t.Errorf("%q is %v, and written again %v (%v)", s, r, again, err)
		}
	})
}
