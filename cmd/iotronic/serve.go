package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/rtunnel"
	"github.com/stack4things/s4t/store"
)

// newLog is the process's log: text on w.
func newLog(w io.Writer, level string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, s4t.Errorf(s4t.Invalid, "choose what to log", "use debug, info, warn or error", "there is no level %q", level)
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: l})), nil
}

// place is where the process is reached.
type place struct {
	listener net.Listener
	url      string // what others are told: https://NAME:PORT
	host     string // of url
	bind     string // address of the listener; public ports bind to it too
	certs    *certs // nil without TLS
}

// locate opens the listener, and makes the URL and the certificate.
func locate(cfg config, log *slog.Logger) (*place, error) {
	l, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return nil, s4t.Errorf(s4t.Unavailable, "listen on "+cfg.Listen, "is another iotronic running? choose another address with --listen", "%w", err)
	}
	p := &place{listener: l}
	if err := p.settle(cfg, log); err != nil {
		l.Close()
		return nil, err
	}
	return p, nil
}

func (p *place) settle(cfg config, log *slog.Logger) error {
	addr := p.listener.Addr().(*net.TCPAddr)
	p.bind = addr.IP.String()
	scheme := "https"
	if cfg.TLS.Mode == "off" {
		scheme = "http"
	}
	p.url = cfg.URL
	if p.url == "" {
		host, _, _ := net.SplitHostPort(cfg.Listen)
		if host == "" || addr.IP.IsUnspecified() {
			host = outside()
			log.Warn("others are told an address that was guessed; say the right one with --url", "url", host)
		}
		p.url = scheme + "://" + net.JoinHostPort(host, fmt.Sprint(addr.Port))
	}
	u, err := url.Parse(p.url)
	if err != nil {
		return s4t.Errorf(s4t.Invalid, "use the URL "+p.url, "use https://NAME:PORT", "%w", err)
	}
	u.Path = ""
	p.url, p.host = u.String(), u.Hostname()

	if cfg.TLS.Mode == "off" {
		var trusted []netip.Prefix
		for _, t := range cfg.TLS.TrustedProxy {
			prefix, err := netip.ParsePrefix(t)
			if err != nil {
				return s4t.Errorf(s4t.Invalid, "trust the proxy "+t, "use a CIDR", "%w", err)
			}
			trusted = append(trusted, prefix.Masked())
		}
		p.listener = proxyListener{p.listener, trusted}
		return nil
	}
	if cfg.TLS.Cert != "" {
		p.certs, err = operatorCerts(cfg.TLS.Cert, cfg.TLS.Key, cfg.TLS.CA, time.Now, log)
	} else {
		hosts := []string{p.host}
		if !addr.IP.IsUnspecified() {
			hosts = append(hosts, addr.IP.String())
		}
		hosts = append(hosts, "localhost", "127.0.0.1", "::1")
		slices.Sort(hosts[1:])
		p.certs, err = ownCerts(cfg.Data, slices.Compact(hosts), time.Now, log)
	}
	if err != nil {
		return err
	}
	conf := p.certs.tlsConfig()
	conf.GetConfigForClient = newHandshakes().wait
	p.listener = tls.NewListener(rtunnel.BatchListener(p.listener), conf)
	return nil
}

// outside guesses the address that others reach this machine at: the source
// address of the default route, else the host's name.
func outside() string {
	// Connecting a UDP socket sends nothing; 192.0.2.1 is reserved (RFC 5737).
	if c, err := net.Dial("udp", "192.0.2.1:9"); err == nil {
		defer c.Close()
		return c.LocalAddr().(*net.UDPAddr).IP.String()
	}
	name, err := os.Hostname()
	if err != nil {
		return "127.0.0.1"
	}
	return name
}

// ticketKey is the key that signs tickets. It is in the database, because
// several conductors share it.
func ticketKey(ctx context.Context, db *store.DB) (ed25519.PrivateKey, error) {
	var seed []byte
	err := db.Tx(ctx, func(tx *store.Tx) (err error) {
		seed, err = tx.Secret("ticket-key", func() ([]byte, error) {
			b := make([]byte, ed25519.SeedSize)
			rand.Read(b) // never fails (crypto/rand, Go 1.24)
			return b, nil
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	if len(seed) != ed25519.SeedSize {
		return nil, s4t.Errorf(s4t.Internal, "read the key that signs tickets", "", "it is damaged")
	}
	return ed25519.NewKeyFromSeed(seed), nil
}

// serve runs the cloud until ctx ends. It prints one line `ready URL` on out
// when everything is up.
func serve(ctx context.Context, cfg config, out io.Writer, log *slog.Logger) error {
	data, err := filepath.Abs(cfg.Data)
	if err != nil {
		return s4t.Errorf(s4t.Invalid, "use the data directory "+cfg.Data, "", "%w", err)
	}
	cfg.Data = data
	unlock, err := openDataDir(cfg.Data)
	if err != nil {
		return err
	}
	defer unlock()
	db, err := store.Open(ctx, store.Config{URL: cfg.database(), Log: log})
	if err != nil {
		return err
	}
	defer db.Close()
	at, err := locate(cfg, log)
	if err != nil {
		return err
	}
	defer at.listener.Close()
	c, err := build(ctx, cfg, at, db, log)
	if err != nil {
		return err
	}
	return c.run(ctx, func() {
		fmt.Fprintln(out, "ready", at.url)
		log.Info("ready", "url", at.url, "data", cfg.Data, "version", version)
	})
}
