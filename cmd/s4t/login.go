package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"runtime"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
)

func (a *app) loginCommand() *cobra.Command {
	var user, project, caFile, fingerprint, expires string
	var passwordStdin bool
	cmd := &cobra.Command{
		Use:   "login URL",
		Short: "Exchange a password for a token, and keep it as a context",
		Long: `Exchanges a password for a token and keeps it, with the cloud's CA, as a context
("default", or the name given with --context), which becomes the current one.

The cloud makes its own CA, DIR/ca.pem. Give it with --ca or S4T_CA, or its
fingerprint (SHA-256 of the certificate) with --fingerprint; on a terminal you
are asked whether to trust what the cloud shows.`,
		Example: "  s4t login https://cloud.example.org:8812 --user maria\n  s4t login https://127.0.0.1:8812 --ca iotronic-data/ca.pem --password-stdin < password",
		Args:    exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c := cloudContext{URL: strings.TrimRight(args[0], "/")}
			if caFile == "" {
				caFile = a.env("S4T_CA")
			}
			if caFile != "" {
				b, err := os.ReadFile(caFile)
				if err != nil {
					return s4t.Errorf(s4t.Invalid, "read the CA", "give the path of a PEM file", "%w", err)
				}
				c.CA = string(b)
			}
			client, err := a.trust(cmd.Context(), &c, fingerprint)
			if err != nil {
				return err
			}
			defer client.Close()
			password, err := a.password(passwordStdin, "Password of "+user+": ")
			if err != nil {
				return err
			}
			token, err := client.Login(cmd.Context(), apiclient.Login{User: user, Password: password, Project: project, Expires: expires})
			if err != nil {
				return err
			}
			c.Token = token.Secret
			if c.Project = project; project == "" {
				c.Project = a.projectName(cmd.Context(), c, token)
			}
			path, _ := a.contextPath()
			all, err := readContexts(path)
			if err != nil {
				return err
			}
			name := a.contextName
			if name == "" {
				name = "default"
			}
			all.Contexts[name], all.Current = c, name
			if err := all.write(path); err != nil {
				return err
			}
			return a.printContext(all, name)
		},
	}
	f := cmd.Flags()
	f.StringVar(&user, "user", "admin", "name of the `USER`")
	f.StringVar(&project, "project", "", "name or id of a `PROJECT` (default the user's own)")
	f.StringVar(&expires, "expires", "", "`DURATION` that the token, and those that it makes, are valid at most, for example 8760h (default a week)")
	f.BoolVar(&passwordStdin, "password-stdin", false, "read the password from standard input")
	f.StringVar(&caFile, "ca", "", "PEM `FILE` of the cloud's CA (default $S4T_CA, else the system's)")
	f.StringVar(&fingerprint, "fingerprint", "", "`SHA-256` of the cloud's CA certificate, in hex")
	return cmd
}

// projectName is what people call the project of a token; its id when the
// cloud does not say.
func (a *app) projectName(ctx context.Context, c cloudContext, t s4t.Token) string {
	if client, err := c.client(); err == nil {
		defer client.Close()
		if p, err := client.Project(ctx, string(t.Project)); err == nil {
			return p.Name
		}
	}
	return string(t.Project)
}

// trust returns a client of the cloud, whose CA it finds and checks where
// none was given. No secret is sent before that.
func (a *app) trust(ctx context.Context, c *cloudContext, fingerprint string) (*apiclient.Client, error) {
	if c.CA == "" && strings.HasPrefix(c.URL, "https:") {
		client, err := c.client()
		if err != nil {
			return nil, err
		}
		_, err = client.Version(ctx)
		if err == nil && fingerprint == "" {
			return client, nil // the system's roots vouch for it
		}
		client.Close()
		ca, cerr := shownCA(ctx, c.URL)
		if cerr != nil {
			if err != nil {
				return nil, err
			}
			return nil, cerr
		}
		sum := sha256.Sum256(ca.Raw)
		shown := hex.EncodeToString(sum[:])
		switch {
		case fingerprint != "" && !strings.EqualFold(strings.ReplaceAll(fingerprint, ":", ""), shown):
			return nil, s4t.Errorf(s4t.Unauthenticated, "log in to "+c.URL, "do not log in before you know why", "its CA has the fingerprint %s, not the one given", shown)
		case fingerprint == "" && !a.confirm(fmt.Sprintf("%s has a CA of its own: %s\nSHA-256 %s\nTrust it? [y/N] ", c.URL, oneLine(ca.Subject.CommonName), shown)):
			return nil, s4t.Errorf(s4t.Unauthenticated, "log in to "+c.URL, "give --ca FILE or --fingerprint "+shown+" if that is the cloud's", "its certificate is of a CA that this machine does not know")
		}
		c.CA = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Raw}))
	}
	return c.client()
}

// shownCA returns the CA certificate in the chain that the server sends. It
// proves nothing: the caller compares it with something that was known before.
func shownCA(ctx context.Context, rawURL string) (*x509.Certificate, error) {
	op := "look at the certificate of " + rawURL
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, s4t.Errorf(s4t.Invalid, op, "give it as https://HOST:PORT", "it is no URL")
	}
	addr := u.Host
	if u.Port() == "" {
		addr = net.JoinHostPort(u.Hostname(), "443")
	}
	d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12, ServerName: u.Hostname()}}
	ctx, cancel := context.WithTimeout(ctx, s4t.HandshakeTimeout)
	defer cancel()
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, s4t.Errorf(s4t.Unavailable, op, "check the URL and that iotronic runs", "%w", err)
	}
	defer conn.Close()
	for _, cert := range conn.(*tls.Conn).ConnectionState().PeerCertificates {
		if cert.IsCA {
			return cert, nil
		}
	}
	return nil, s4t.Errorf(s4t.Unauthenticated, op, "give the CA with --ca FILE", "it does not show its CA")
}

// confirm asks on a terminal; elsewhere the answer is no.
func (a *app) confirm(question string) bool {
	if !isTerminal(a.stdin) || !isTerminal(a.stderr) {
		return false
	}
	io.WriteString(a.stderr, question)
	line, _ := bufio.NewReader(a.stdin).ReadString('\n')
	line = strings.ToLower(strings.TrimSpace(line))
	return line == "y" || line == "yes"
}

// password reads a password from standard input, whole, or asks on a terminal
// without showing it.
func (a *app) password(fromStdin bool, prompt string) (string, error) {
	const op = "read the password"
	if fromStdin {
		b, err := io.ReadAll(io.LimitReader(a.stdin, 4096))
		if err != nil {
			return "", s4t.Errorf(s4t.Internal, op, "", "%w", err)
		}
		return strings.TrimRight(string(b), "\r\n"), nil
	}
	f, ok := a.stdin.(*os.File)
	if !ok || !isTerminal(f) {
		return "", s4t.Errorf(s4t.Invalid, op, "give it with --password-stdin", "standard input is not a terminal")
	}
	fd := int(f.Fd())
	old, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return "", s4t.Errorf(s4t.Invalid, op, "give it with --password-stdin", "standard input is not a terminal: %w", err)
	}
	quiet := *old
	quiet.Lflag &^= unix.ECHO
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, &quiet); err != nil {
		return "", s4t.Errorf(s4t.Internal, op, "give it with --password-stdin", "%w", err)
	}
	defer unix.IoctlSetTermios(fd, unix.TCSETS, old)
	io.WriteString(a.stderr, prompt)
	line, err := bufio.NewReader(f).ReadString('\n')
	io.WriteString(a.stderr, "\n")
	if err != nil {
		return "", s4t.Errorf(s4t.Invalid, op, "", "none was given")
	}
	return strings.TrimRight(line, "\r\n"), nil
}

// versions is the answer of `s4t version`.
type versions struct {
	Client string `json:"client"`
	Go     string `json:"go"`
	Cloud  string `json:"cloud,omitempty"`
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{Use: "version", Short: "Versions of this program and of the cloud", Example: "  s4t version\n  s4t version -o json", Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			v := versions{Client: version, Go: runtime.Version()}
			if client, err := a.client(); err == nil { // without a context it is about this program only
				defer client.Close()
				ctx, cancel := context.WithTimeout(cmd.Context(), min(a.timeout, completionTimeout))
				defer cancel()
				if cloud, err := client.Version(ctx); err == nil {
					v.Cloud = cloud.Version
				}
			}
			return a.printOne(v, v.Client, field{"client", v.Client}, field{"go", v.Go}, field{"cloud", v.Cloud})
		}}
}
