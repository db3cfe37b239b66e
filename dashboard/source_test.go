package dashboard

import (
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write dist/SOURCE: `make dashboard` does, after it has built the bundle")

// sources are what the bundle is built from.
var sources = []string{"src", "public", "index.html", "term.html", "package-lock.json", "package.json", "vite.config.ts", "tsconfig.json"}

// TestTheBundleIsOfTheSources fails where sources were changed and the bundle was not built
// anew. It needs no npm; `make test-dashboard` builds it and compares every byte.
func TestTheBundleIsOfTheSources(t *testing.T) {
	var files []string
	for _, s := range sources {
		err := filepath.WalkDir(s, func(name string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() && !strings.HasSuffix(name, ".test.ts") {
				files = append(files, name)
			}
			return err
		})
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	slices.Sort(files)
	all := sha256.New()
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(all, "%s %x\n", filepath.ToSlash(name), sha256.Sum256(b))
	}
	is := hex.EncodeToString(all.Sum(nil)) + "\n"
	if *update {
		if err := os.WriteFile("dist/SOURCE", []byte(is), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	was, err := os.ReadFile("dist/SOURCE")
	if err != nil || string(was) != is {
		t.Errorf("dashboard/dist is not built from these sources: run `make dashboard` and commit what it makes (%v)", err)
	}
}
