package api

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"net/url"
	"slices"
	"strings"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// cloudRoutes is what who uses the cloud has to know of it.
func (a *API) cloudRoutes() {
	register(a, guarded, "GET /v1/cloud", "cloud.show", "Show the cloud", "Its version and URL, the host names of public ports and whether the dashboard shares one of them with boards, until when its CA is good, and, for admins, the certificate of each of its processes.",
		func(ctx context.Context, _ *nothing) (*answered[s4t.Cloud], error) {
			at, err := call[wire.CloudHosts](ctx, a, wire.MethodCloudHosts, wire.CloudHostsAsk{Caller: callerOf(ctx)})
			if err != nil {
				return nil, err
			}
			c := a.cloud(at.Hosts)
			c.Certificates = at.Certificates
			return &answered[s4t.Cloud]{c}, nil
		})
}

// cloud is what there is to know, with the hosts of public ports.
func (a *API) cloud(hosts []string) s4t.Cloud {
	c := s4t.Cloud{Version: a.version, URL: a.url, PublicHosts: append([]string{}, hosts...)}
	if u, err := url.Parse(a.url); err == nil {
		c.SharedHost = slices.ContainsFunc(hosts, func(h string) bool { return strings.EqualFold(h, u.Hostname()) })
	}
	for _, text := range a.trust().CAs {
		block, _ := pem.Decode([]byte(text))
		if block == nil {
			continue
		}
		if ca, err := x509.ParseCertificate(block.Bytes); err == nil { // it was parsed where it was read
			c.CAs = append(c.CAs, s4t.CAInfo{Name: s4t.Line(ca.Subject.CommonName, 80), Until: ca.NotAfter.UTC()})
		}
	}
	if until := a.shown(); !until.IsZero() {
		until = until.UTC()
		c.CertificateUntil = &until
	}
	return c
}
