package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/stack4things/s4t/rtunnel"
	"github.com/stack4things/s4t/rtunnel/accept"
)

const (
	// maxGrant bounds the answer that grants a stream, maxGrants how many are remembered, and
	// grantFor for how long: as long as a ticket is good, and some more.
	maxGrant  = 1 << 20
	maxGrants = 256
	grantFor  = 2 * time.Minute
)

// localStreams are the streams that the cloud granted to the page behind a [localProxy]. It
// opens them where it came from, and they go on to the tunnel agent that the grant named: the
// page may connect to nothing else, nor does the browser know an agent's certificate. Nobody
// reaches an agent by it who does not have a ticket that came this way.
type localStreams struct {
	mu     sync.Mutex         // guards the fields below
	agents map[string]granted // by ticket
}

// granted is where a ticket leads.
type granted struct {
	agent *url.URL
	until time.Time
}

// take remembers where the ticket of an answer leads, and gives the answer in which it leads to
// self instead; nil where it is no grant.
func (s *localStreams) take(answer []byte, self string) []byte {
	var grant map[string]json.RawMessage
	var at, ticket string
	if json.Unmarshal(answer, &grant) != nil || json.Unmarshal(grant["url"], &at) != nil || json.Unmarshal(grant["ticket"], &ticket) != nil || ticket == "" {
		return nil
	}
	agent, err := url.Parse(at)
	if err != nil || agent.Scheme != "https" && agent.Scheme != "http" || agent.Host == "" || agent.User != nil {
		return nil
	}
	grant["url"], _ = json.Marshal(self) // a string
	changed, err := json.Marshal(grant)
	if err != nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for t, g := range s.agents {
		if now.After(g.until) {
			delete(s.agents, t)
		}
	}
	if len(s.agents) >= maxGrants {
		return nil
	}
	s.agents[ticket] = granted{agent, now.Add(grantFor)}
	return changed
}

// agent is where a request for a stream goes; nil: nothing is known of its ticket.
func (s *localStreams) agent(r *http.Request) *url.URL {
	ticket := accept.Bearer(r)
	s.mu.Lock()
	defer s.mu.Unlock()
	g, ok := s.agents[ticket]
	if !ok || time.Now().After(g.until) {
		return nil
	}
	delete(s.agents, ticket) // it is good once
	return g.agent
}

// toAgent makes a request for a stream one for the agent that its ticket leads to, other than
// the cloud itself, which is reached the way that all else is.
func (p *localProxy) toAgent(r *httputil.ProxyRequest, cloud *url.URL) bool {
	if r.In.URL.Path != p.base+strings.TrimPrefix(rtunnel.Path, "/") {
		return false
	}
	agent := p.streams.agent(r.In)
	if agent == nil || agent.Scheme == cloud.Scheme && agent.Host == cloud.Host || agent.Scheme != "https" && cloud.Scheme == "https" {
		return false
	}
	r.Out.URL.Scheme, r.Out.URL.Host, r.Out.URL.Path, r.Out.URL.RawPath, r.Out.URL.RawQuery = agent.Scheme, agent.Host, strings.TrimRight(agent.Path, "/")+rtunnel.Path, "", ""
	r.Out.Host = ""
	r.Out.Header.Del("Cookie")
	return true
}

// keepGrant has the stream that an answer grants come through here.
func (p *localProxy) keepGrant(res *http.Response) error {
	path := res.Request.URL.Path
	if res.Request.Method != http.MethodPost || res.StatusCode != http.StatusOK || !strings.HasPrefix(path, p.base+"v1/boards/") || !strings.HasSuffix(path, "/streams") {
		return nil
	}
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxGrant))
	res.Body.Close()
	if err != nil {
		return err
	}
	if changed := p.streams.take(answer, "http://"+p.host); changed != nil {
		answer = changed
	}
	res.Body, res.ContentLength = io.NopCloser(bytes.NewReader(answer)), int64(len(answer))
	res.Header.Set("Content-Length", strconv.Itoa(len(answer)))
	return nil
}
