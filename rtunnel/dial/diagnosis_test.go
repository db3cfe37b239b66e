package dial_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stack4things/s4t/rtunnel/dial"
	"github.com/stack4things/s4t/wire"
)

func TestDialTrustsAnExtraCABesideTheCloudsOwn(t *testing.T) {
	ours, office, other := newAuthority(t, "IoTronic CA 1"), newAuthority(t, "an office's proxy"), newAuthority(t, "IoTronic CA 2")
	sum := sha256.Sum256(ours.ca.Raw)
	fingerprint := hex.EncodeToString(sum[:])
	for _, tt := range []struct {
		name   string
		server authority
		cfg    dial.Config
		host   string
		want   string // ID of the diagnosis; "": it connects
	}{
		{"the proxy's, beside a CA", office, dial.Config{CA: ours.pem, ExtraCA: office.pem}, "", ""},
		{"the cloud's, beside the proxy's", ours, dial.Config{CA: ours.pem, ExtraCA: office.pem}, "", ""},
		{"the proxy's, beside a fingerprint", office, dial.Config{Fingerprint: fingerprint, ExtraCA: office.pem}, "", ""},
		{"the cloud's by its fingerprint, beside the proxy's", ours, dial.Config{Fingerprint: fingerprint, ExtraCA: office.pem}, "", ""},
		{"the proxy's, beside the system's", office, dial.Config{ExtraCA: office.pem}, "", ""},
		{"not the cloud's own where only the system's count", ours, dial.Config{ExtraCA: office.pem}, "", wire.CAReplaced},
		{"not the proxy's where it was not given", office, dial.Config{CA: ours.pem}, "", wire.TLSResigned},
		{"not another IoTronic's", other, dial.Config{CA: ours.pem, ExtraCA: office.pem}, "", wire.CAReplaced},
		{"not another host's of an unknown CA", office, dial.Config{CA: ours.pem}, "else.test", wire.WrongCertificate},
		{"not another name of the cloud's CA", ours, dial.Config{CA: ours.pem}, "else.test", wire.HostName},
		{"not another name of the proxy's CA", office, dial.Config{CA: ours.pem, ExtraCA: office.pem}, "else.test", wire.HostName},
	} {
		t.Run(tt.name, func(t *testing.T) {
			url := serveHTTP(t, &tt.server, greet)
			if tt.host != "" {
				url = strings.Replace(url, "127.0.0.1", tt.host, 1)
				tt.cfg.Resolve = func(context.Context, string) ([]netip.Addr, error) {
					return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
				}
			}
			err := dialGreeting(t, dialer(t, tt.cfg), url)
			if (err == nil) != (tt.want == "") || dial.DiagnosisOf(err) != tt.want {
				t.Errorf("Dial = %v, diagnosis %q, want %q", err, dial.DiagnosisOf(err), tt.want)
			}
		})
	}
}

func TestProxyAnswersAreDiagnosed(t *testing.T) {
	for _, tt := range []struct {
		name, userinfo string
		challenges     []string
		want           string
	}{
		{"a login is missing", "", []string{`Basic realm="x"`}, wire.ProxyLoginMissing},
		{"a login is wrong", "user:wrong@", []string{`Basic realm="x"`}, wire.ProxyLoginWrong},
		{"Negotiate only", "user:secret@", []string{"Negotiate", "NTLM"}, wire.ProxyLoginUnsupported},
		{"Negotiate only, and no login given", "", []string{"Negotiate"}, wire.ProxyLoginUnsupported},
		{"no challenge at all", "user:secret@", []string{}, wire.ProxyLoginUnsupported},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var connects atomic.Int32
			addr := proxyServer(t, &connects, func(string, string) []string { return tt.challenges })
			d := dialer(t, dial.Config{Proxy: "http://" + tt.userinfo + addr})
			_, err := d.Dial(t.Context(), "http://cloud.test:80", "/x", "test.1", "")
			if got := dial.DiagnosisOf(err); got != tt.want {
				t.Errorf("%v: diagnosis %q, want %q", err, got, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("the password is told: %v", err)
			}
		})
	}
}

func TestInspectLooksAtWhoeverAnswers(t *testing.T) {
	a := newAuthority(t, "somebody")
	url := serveHTTP(t, &a, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			t.Error("something secret was sent")
		}
		http.Redirect(w, r, "http://portal.test/login", http.StatusFound)
	})
	seen, err := dialer(t, dial.Config{}).Inspect(t.Context(), url, "/")
	if err != nil {
		t.Fatal(err)
	}
	if seen.Code != 302 || seen.Location != "portal.test" || seen.Date.IsZero() || len(seen.Chain) != 2 {
		t.Errorf("%+v", seen)
	}
	own := serveHTTP(t, nil, func(w http.ResponseWriter, r *http.Request) {
		host, _, _ := net.SplitHostPort(r.Host)
		http.Redirect(w, r, "https://"+host+"/", http.StatusMovedPermanently)
	})
	if seen, err = dialer(t, dial.Config{}).Inspect(t.Context(), own, "/"); err != nil || seen.Location != "" {
		t.Errorf("a redirect to the same host: %+v, %v", seen, err)
	}
	if at, err := dialer(t, dial.Config{CA: a.pem}).Date(t.Context(), url, "/"); err != nil || at.IsZero() {
		t.Errorf("Date = %v, %v", at, err)
	}
	if _, err := dialer(t, dial.Config{CA: newAuthority(t, "ours").pem}).Date(t.Context(), url, "/"); err == nil {
		t.Error("the clock of somebody else was believed")
	}
}
