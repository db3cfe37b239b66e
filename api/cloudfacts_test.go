package api

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"testing"
	"time"

	"github.com/stack4things/s4t/wire"
)

// TestCloudFacts: whether boards' software shares the dashboard's host name, and when
// certificates end.
func TestCloudFacts(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	until := time.Date(2036, 1, 2, 3, 4, 5, 0, time.UTC)
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "a CA"}, NotAfter: until}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	a := &API{version: "1.2.3", url: "https://Cloud.example:8812/s4t", trust: func() wire.Trust { return wire.Trust{CAs: []string{ca, "no PEM"}} }, shown: func() time.Time { return until }}
	c := a.cloud([]string{"cloud.example", "ports.example"})
	if !c.SharedHost || len(c.CAs) != 1 || c.CAs[0].Name != "a CA" || !c.CAs[0].Until.Equal(until) || c.CertificateUntil == nil || !c.CertificateUntil.Equal(until) {
		t.Errorf("%+v", c)
	}
	a.trust, a.shown = func() wire.Trust { return wire.Trust{} }, func() time.Time { return time.Time{} }
	if c := a.cloud(nil); c.SharedHost || c.CAs != nil || c.CertificateUntil != nil || c.PublicHosts == nil {
		t.Errorf("without TLS and public ports: %+v", c)
	}
}
