package main

import (
	"context"
	"strings"
	"time"
)

// hear notes what an answer says of whom to trust.
func (a *app) hear(sum string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.heard = sum
}

// learnTimeout bounds what a command takes longer, once after each change.
const learnTimeout = 3 * time.Second

// learnTrust keeps what the cloud announced of its certificate with the context,
// so that the context outlives a change of the CA. What was given at the login
// stays. Where it does not succeed, the next command tries again.
func (a *app) learnTrust(ctx context.Context) {
	a.mu.Lock()
	heard := a.heard
	a.mu.Unlock()
	for _, overrides := range []string{"S4T_URL", "S4T_TOKEN", "S4T_CA"} {
		if a.env(overrides) != "" {
			return // the context may be another cloud's
		}
	}
	path, _ := a.contextPath()
	all, err := readContexts(path)
	if err != nil || heard == "" {
		return
	}
	name := a.wanted(all)
	c, ok := all.Contexts[name]
	if !ok || c.Trust == heard || !strings.HasPrefix(c.URL, "https:") {
		return
	}
	client, err := c.client()
	if err != nil {
		return
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, learnTimeout)
	defer cancel()
	t, err := client.Trust(ctx)
	if err != nil {
		return
	}
	c.Announced, c.System, c.Trust = strings.Join(t.CAs, ""), t.SystemRoots, t.Sum
	all.Contexts[name] = c
	all.write(path) // one that cannot be written, an administrator's, stays as it is
}
