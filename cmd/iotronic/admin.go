package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime/debug"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/cloud"
	"github.com/stack4things/s4t/identity"
	"github.com/stack4things/s4t/wire"
)

// adminContext is what `s4t` reads from DIR/admin.toml.
type adminContext struct {
	URL     string `toml:"url"`
	Project string `toml:"project"`
	Token   string `toml:"token"`
	CA      string `toml:"ca,omitempty,multiline"`
	System  bool   `toml:"system_roots,omitempty"` // what the system trusts, besides CA
	Trust   string `toml:"trust,omitempty"`        // sum of what the cloud says to trust: s4t asks again where it is another
}

// trusting tells a context whom to trust.
func (c adminContext) trusting(t wire.Trust) adminContext {
	c.CA = strings.Join(t.CAs, "")
	c.System = t.SystemRoots && c.CA != ""
	c.Trust = t.Sum()
	return c
}

// contextFile is the file's form.
type contextFile struct {
	Current  string                  `toml:"current"`
	Contexts map[string]adminContext `toml:"contexts"`
}

// admitAdmin makes the first project and user on the first start, and keeps
// DIR/admin.toml: written then, made anew with another token where it is
// missing, and told the cloud's new URL or CA where they changed.
func admitAdmin(ctx context.Context, id *identity.Identity, path, url string, trust wire.Trust) error {
	fresh := func(password, token string) error {
		head := "# The admin's context, written by iotronic: s4t --context-file " + path + "\n" +
			"# Delete this file to get a new token at the next start.\n"
		if password != "" {
			head += "# User " + identity.AdminUser + ", password " + password + "\n"
		}
		return writeContext(path, head, adminContext{URL: url, Project: identity.DefaultProject, Token: token}.trusting(trust))
	}
	first, err := id.Bootstrap(ctx, func(f identity.First) error { return fresh(f.Password, f.Token.Secret) })
	if err != nil {
		return err
	}
	if first {
		debug.FreeOSMemory() // what hashing the password took, 19 MiB, is not needed again soon
		return nil
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		token, err := id.AdminToken(ctx)
		if s4t.KindOf(err) == s4t.NotFound {
			return nil // the user admin was deleted: others manage this cloud
		}
		if err != nil {
			return err
		}
		return fresh("", token.Secret)
	}
	if err != nil {
		return s4t.Errorf(s4t.Unavailable, "read "+path, "check its permissions", "%w", err)
	}
	var f contextFile
	if err := toml.Unmarshal(text, &f); err != nil {
		return s4t.Errorf(s4t.Invalid, "read "+path, "delete it to get a new one", "%w", err)
	}
	c, ok := f.Contexts[identity.DefaultProject]
	now := c.trusting(trust)
	if now.URL = url; !ok || now == c {
		return nil
	}
	return writeContext(path, comments(string(text)), now)
}

// comments are the lines that a file begins with.
func comments(text string) string {
	var head strings.Builder
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "#") {
			break
		}
		head.WriteString(line)
	}
	return head.String()
}

// writeContext writes the file, for its owner's eyes only, in the form in which
// the documents show it: scripts read it line by line.
func writeContext(path, head string, c adminContext) error {
	text := fmt.Appendf(nil, "%scurrent = %q\n\n[contexts.%s]\nurl = %q\nproject = %q\ntoken = %q\n",
		head, identity.DefaultProject, identity.DefaultProject, c.URL, c.Project, c.Token)
	if c.Trust != "" {
		text = fmt.Appendf(text, "trust = %q\n", c.Trust)
	}
	if c.System {
		text = fmt.Appendln(text, "system_roots = true")
	}
	if c.CA != "" {
		text = fmt.Appendf(text, "ca = \"\"\"\n%s\"\"\"\n", c.CA)
	}
	return cloud.WriteFile(path, text, 0o600)
}
