package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stack4things/s4t"
)

// FuzzReadContexts: a file of contexts is read or refused with a clear error.
func FuzzReadContexts(f *testing.F) {
	f.Add([]byte("current = \"default\"\n[contexts.default]\nurl = \"https://127.0.0.1:8812\"\ntoken = \"x\"\nca = \"\"\"\n-----BEGIN\"\"\"\n"))
	f.Add([]byte("contexts = 5"))
	f.Add([]byte("[contexts]\n[contexts.\"a b\"]\n"))
	f.Add([]byte("a=" + strings.Repeat("[", 2000)))
	f.Add([]byte("a." + strings.Repeat("b.", 2000) + "c=1"))
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(t.TempDir(), "contexts.toml")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := readContexts(path)
		if err != nil {
			if k := s4t.KindOf(err); k != s4t.Invalid {
				t.Errorf("%q: %s: %v", b, k, err)
			}
			return
		}
		if c.Contexts == nil || len(b) > maxContexts {
			t.Errorf("%q is %+v", b, c)
		}
	})
}

func TestAFileOfContextsIsBounded(t *testing.T) {
	for name, text := range map[string]string{
		"arrays in arrays":   "a=" + strings.Repeat("[", maxContexts-10),
		"tables in tables":   "a=" + strings.Repeat("{a=", maxContexts/3-10),
		"a key of many dots": "a" + strings.Repeat(".b", maxContexts/2-10) + "=1",
		"too long":           strings.Repeat("#", maxContexts+1),
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "contexts.toml")
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := readContexts(path); name != "a key of many dots" && s4t.KindOf(err) != s4t.Invalid {
				t.Errorf("error %.200v", err)
			}
		})
	}
}
