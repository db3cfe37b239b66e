package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sort"

	"github.com/pelletier/go-toml/v2"
	"github.com/spf13/cobra"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
)

// cloudContext is one cloud as one user of a project.
type cloudContext struct {
	URL     string `toml:"url"`
	Project string `toml:"project,omitempty"`
	Token   string `toml:"token,omitempty"`
	CA      string `toml:"ca,omitempty,multiline"` // PEM; none: the system's roots

	// What the cloud announced since, besides: see learnTrust.
	Announced string `toml:"announced_ca,omitempty,multiline"` // PEM
	System    bool   `toml:"system_roots,omitempty"`           // with CA: the system's, too
	Trust     string `toml:"trust,omitempty"`                  // sum of what it announced
}

// trusted are the CAs of a context in PEM, none for the system's roots, and
// whether these count besides.
func (c cloudContext) trusted() (ca string, system bool) {
	return c.CA + c.Announced, c.System || c.CA == "" && c.Announced != ""
}

// contexts is the file of contexts.
type contexts struct {
	Current  string                  `toml:"current"`
	Contexts map[string]cloudContext `toml:"contexts"`
}

// contextView is a context as `s4t context` shows it: without the token.
type contextView struct {
	Name    string `json:"name"`
	URL     string `json:"url"`
	Project string `json:"project,omitempty"`
	Current bool   `json:"current"`
	Token   bool   `json:"logged_in"` // whether it has a token
}

// contextPath is where the contexts are.
func (a *app) contextPath() (path string, given bool) {
	if a.contextFile != "" {
		return a.contextFile, true
	}
	if p := a.env("S4T_CONTEXT_FILE"); p != "" {
		return p, true
	}
	return filepath.Join(a.configDir(), "contexts.toml"), false
}

// configDir is ~/.config/s4t.
func (a *app) configDir() string { return filepath.Join(a.env("HOME"), ".config", "s4t") }

// maxContexts bounds the file, in bytes: each context is about 1 KB, and what
// parses TOML takes memory for each level of nesting.
const maxContexts = 256 << 10

// readContexts reads the file; one that does not exist holds none.
func readContexts(path string) (contexts, error) {
	const op = "read the contexts"
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return contexts{Contexts: map[string]cloudContext{}}, nil
	}
	if err != nil {
		return contexts{}, s4t.Errorf(s4t.Internal, op, "check its permissions, or give another with --context-file", "%w", err)
	}
	if len(b) > maxContexts {
		return contexts{}, s4t.Errorf(s4t.Invalid, op, "repair it, or log in again with another --context-file", "%s is longer than %d bytes", path, maxContexts)
	}
	var c contexts
	if err := toml.Unmarshal(b, &c); err != nil {
		return contexts{}, s4t.Errorf(s4t.Invalid, op, "repair it, or log in again with another --context-file", "%s: %w", path, err)
	}
	if c.Contexts == nil {
		c.Contexts = map[string]cloudContext{}
	}
	return c, nil
}

// write replaces the file, whole or not at all. It holds tokens.
func (c contexts) write(path string) error {
	bad := func(err error) error {
		return s4t.Errorf(s4t.Internal, "write the contexts", "check its permissions, or give another with --context-file", "%w", err)
	}
	b, err := toml.Marshal(c)
	if err != nil {
		return bad(err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return bad(err)
	}
	if err := replaceFile(path, string(b)); err != nil {
		return bad(err)
	}
	return nil
}

// wanted is the name of the context to use.
func (a *app) wanted(c contexts) string {
	switch {
	case a.contextName != "":
		return a.contextName
	case a.env("S4T_CONTEXT") != "":
		return a.env("S4T_CONTEXT")
	case c.Current != "":
		return c.Current
	}
	return "default"
}

// loadContext returns the current context of one file, whatever the
// environment says.
func loadContext(path string) (cloudContext, error) {
	all, err := readContexts(path)
	if err != nil {
		return cloudContext{}, err
	}
	c, ok := all.Contexts[all.Current]
	if !ok {
		return cloudContext{}, noContext(all.Current, path)
	}
	return c, nil
}

// resolve joins flags, environment and file.
func (a *app) resolve() (cloudContext, error) {
	const op, hint = "find the cloud", "log in with `s4t login URL`, or give --context-file FILE or S4T_URL and S4T_TOKEN"
	path, given := a.contextPath()
	all, err := readContexts(path)
	if err != nil {
		return cloudContext{}, err
	}
	name := a.wanted(all)
	c, ok := all.Contexts[name]
	url, token, ca := a.env("S4T_URL"), a.env("S4T_TOKEN"), a.env("S4T_CA")
	if !ok && (url == "" || a.contextName != "") {
		if given {
			if _, err := os.Stat(path); err != nil {
				return c, s4t.Errorf(s4t.Unauthenticated, op, hint, "there is no file %s", path)
			}
		}
		return c, s4t.Errorf(s4t.Unauthenticated, op, hint, "there is no context %q in %s", name, path)
	}
	if url != "" {
		c.URL = url
	}
	if token != "" {
		c.Token = token
	}
	if ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return c, s4t.Errorf(s4t.Invalid, "read S4T_CA", "give the path of a PEM file", "%w", err)
		}
		c.CA, c.Announced, c.System = string(pem), "", false
	}
	return c, nil
}

// client of a context.
func (c cloudContext) client() (*apiclient.Client, error) { return c.clientThat(nil) }

// clientThat tells heard of the header [apiclient.TrustHeader] of each answer.
func (c cloudContext) clientThat(heard func(string)) (*apiclient.Client, error) {
	ca, system := c.trusted()
	return apiclient.New(apiclient.Config{URL: c.URL, Token: c.Token, CA: ca, System: system, Agent: "s4t/" + version, Heard: heard})
}

func (a *app) contextCommand() *cobra.Command {
	list := &cobra.Command{Use: "list", Short: "List contexts", Example: "  s4t context list", Args: exactly(0),
		RunE: func(*cobra.Command, []string) error {
			path, _ := a.contextPath()
			all, err := readContexts(path)
			if err != nil {
				return err
			}
			return printList(a, all.views(), func(v contextView) string { return v.Name },
				column[contextView]{"", func(v contextView) string { return mark(v.Current) }},
				column[contextView]{"NAME", func(v contextView) string { return v.Name }},
				column[contextView]{"URL", func(v contextView) string { return v.URL }},
				column[contextView]{"PROJECT", func(v contextView) string { return v.Project }})
		}}
	use := &cobra.Command{Use: "use NAME", Short: "Make a context the current one", Example: "  s4t context use lab", Args: exactly(1),
		ValidArgsFunction: a.completeContexts,
		RunE: func(_ *cobra.Command, args []string) error {
			path, _ := a.contextPath()
			all, err := readContexts(path)
			if err != nil {
				return err
			}
			if _, ok := all.Contexts[args[0]]; !ok {
				return noContext(args[0], path)
			}
			all.Current = args[0]
			if err := all.write(path); err != nil {
				return err
			}
			return a.printContext(all, args[0])
		}}
	show := &cobra.Command{Use: "show [NAME]", Short: "Show a context, the current one by default", Example: "  s4t context show\n  s4t context show lab -o json", Args: between(0, 1),
		ValidArgsFunction: a.completeContexts,
		RunE: func(_ *cobra.Command, args []string) error {
			path, _ := a.contextPath()
			all, err := readContexts(path)
			if err != nil {
				return err
			}
			name := a.wanted(all)
			if len(args) > 0 {
				name = args[0]
			}
			if _, ok := all.Contexts[name]; !ok {
				return noContext(name, path)
			}
			return a.printContext(all, name)
		}}
	return newGroup("context", "The clouds this user knows", "  s4t context list\n  s4t context use lab", list, use, show)
}

func noContext(name, path string) error {
	return s4t.Errorf(s4t.NotFound, "find context "+name, "see `s4t context list`", "there is none of this name in %s", path)
}

func (c contexts) views() []contextView {
	l := make([]contextView, 0, len(c.Contexts))
	for name, x := range c.Contexts {
		l = append(l, contextView{name, x.URL, x.Project, name == c.Current, x.Token != ""})
	}
	sort.Slice(l, func(i, j int) bool { return l[i].Name < l[j].Name })
	return l
}

func (a *app) printContext(all contexts, name string) error {
	for _, v := range all.views() {
		if v.Name == name {
			return a.printOne(v, v.Name, field{"name", v.Name}, field{"url", v.URL}, field{"project", v.Project}, field{"current", yes(v.Current)}, field{"logged in", yes(v.Token)})
		}
	}
	return nil
}

func mark(b bool) string {
	if b {
		return "*"
	}
	return ""
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
