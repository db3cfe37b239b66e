package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// advised is a command in a hint of an error: "see `s4t board list`".
var advised = regexp.MustCompile("`(s4t [a-z][^`\n]*)`")

// TestTheDocumentsSpeakOfCommandsThatExist looks up every `s4t` line of the
// documents, every example of the help, and every command that an error
// advises.
func TestTheDocumentsSpeakOfCommandsThatExist(t *testing.T) {
	root := (&app{env: func(string) string { return "" }}).root()
	seen := 0
	check := func(where, line string) {
		words := strings.Fields(strings.SplitN(line, "#", 2)[0])
		for len(words) > 0 && words[0] != "s4t" {
			words = words[1:]
		}
		if len(words) < 2 {
			return
		}
		seen++
		args, flags := []string{}, []string{}
		for _, w := range words[1:] {
			if w == "--" || w == "<" || w == ">" || w == "|" || w == "for" {
				break // what follows is not ours
			}
			if strings.HasPrefix(w, "--") {
				flags = append(flags, strings.TrimLeft(strings.SplitN(w, "=", 2)[0], "-"))
			} else if len(args) < 3 {
				args = append(args, w)
			}
		}
		cmd, _, err := root.Find(args)
		if err != nil || cmd == root {
			t.Errorf("%s: no such command: %s", where, line)
			return
		}
		for _, f := range flags {
			if find(cmd, f) == nil {
				t.Errorf("%s: %s has no flag --%s: %s", where, cmd.CommandPath(), f, line)
			}
		}
	}
	files, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range append(files, "../../README.md") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range strings.Split(string(text), "\n") {
			if rest, ok := strings.CutPrefix(line, "    "); ok && strings.HasPrefix(strings.TrimPrefix(rest, "you$  "), "s4t ") {
				check(filepath.Base(file), rest)
			}
		}
	}
	err = filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range advised.FindAllSubmatch(text, -1) {
			check(path, string(m[1]))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Example == "" {
			t.Errorf("%s has no example", c.CommandPath())
		}
		for _, line := range strings.Split(c.Example, "\n") {
			check(c.CommandPath(), line)
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(root)
	if seen < 40 {
		t.Errorf("only %d command lines were found", seen)
	}
}

// find returns a flag of a command, its own or inherited.
func find(c *cobra.Command, name string) *pflag.Flag {
	if f := c.Flags().Lookup(name); f != nil {
		return f
	}
	return c.InheritedFlags().Lookup(name)
}
