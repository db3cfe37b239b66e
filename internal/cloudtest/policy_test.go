package cloudtest

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestThePolicyOfPagesNamesTunnelAgentsElsewhere: the dashboard's page opens WebSockets to them.
func TestThePolicyOfPagesNamesTunnelAgentsElsewhere(t *testing.T) {
	m := newMovingAt(t, Config{APIs: 1, TunnelAgents: 2}, func(*Cloud) {})
	hc := http.Client{Transport: m.client.Transport()}
	m.within(2*time.Minute, func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url(Name)+"/term.html", nil)
		if err != nil {
			return err
		}
		res, err := hc.Do(req)
		if err != nil {
			return err
		}
		io.Copy(io.Discard, res.Body)
		res.Body.Close()
		policy := res.Header.Get("Content-Security-Policy")
		for _, agent := range []string{"tunnel-agent-1", "tunnel-agent-2"} {
			if want := "wss" + strings.TrimPrefix(url(agent+"."+Name), "https"); !strings.Contains(policy, " "+want) {
				return fmt.Errorf("%s does not name %s", policy, want)
			}
		}
		return nil
	})
}
