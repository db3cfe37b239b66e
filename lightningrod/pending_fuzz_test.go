package lightningrod

import (
	"os"
	"testing"
)

// FuzzPending: whatever a broken join left behind, the next one has a key, and
// the same code finds the same key.
func FuzzPending(f *testing.F) {
	f.Add([]byte(`{"code":"c","key":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}`))
	f.Add([]byte(`{"code":"c","key":"AA=="}`))
	f.Add([]byte(`{"code":`))
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := stateDir(t.TempDir())
		if err := os.WriteFile(dir.path(pendingFile), b, 0o600); err != nil {
			t.Fatal(err)
		}
		first, err := dir.pendingKey("c")
		if err != nil {
			t.Fatal(err)
		}
		if again, err := dir.pendingKey("c"); err != nil || !again.Equal(first) {
			t.Errorf("the second try has another key (%v)", err)
		}
	})
}
