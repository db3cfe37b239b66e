package apiclient

import (
	"context"
	"time"

	"github.com/stack4things/s4t"
)

// ExposeService gives a service of a board a public port.
func (c *Client) ExposeService(ctx context.Context, board string, req ServiceExpose) (o s4t.Operation, err error) {
	return o, c.do(ctx, "expose "+req.Service+" of board "+board, "POST", path("boards", board, "services"), req, &o)
}

// Services lists exposed services, of one board if board is not empty.
func (c *Client) Services(ctx context.Context, board string) ([]s4t.Service, error) {
	return c.ServiceList(board).All(ctx)
}

// ServiceList is the list behind [Client.Services].
func (c *Client) ServiceList(board string) List[s4t.Service] {
	p := path("services")
	if board != "" {
		p = path("boards", board, "services")
	}
	return List[s4t.Service]{c, "list services", p}
}

// Service by id.
func (c *Client) Service(ctx context.Context, id string) (s s4t.Service, err error) {
	return s, c.do(ctx, "show service "+id, "GET", path("services", id), nil, &s)
}

// UpdateService changes what is not nil. service is a name, a TCP port or an id.
func (c *Client) UpdateService(ctx context.Context, board, service string, req ServiceUpdate) (s s4t.Service, err error) {
	return s, c.do(ctx, "update "+service+" of board "+board, "PATCH", path("boards", board, "services", service), req, &s)
}

// HideService closes a public port. service is a name, a TCP port or an id.
func (c *Client) HideService(ctx context.Context, board, service string) (o s4t.Operation, err error) {
	return o, c.do(ctx, "hide "+service+" of board "+board, "DELETE", path("boards", board, "services", service), nil, &o)
}

// Audit lists records, oldest first, of one board if board is not empty, and
// not older than since if that is not 0.
func (c *Client) Audit(ctx context.Context, board string, since time.Duration) ([]s4t.AuditRecord, error) {
	return c.AuditList(board, since).All(ctx)
}

// AuditList is the list behind [Client.Audit].
func (c *Client) AuditList(board string, since time.Duration) List[s4t.AuditRecord] {
	s := ""
	if since > 0 {
		s = since.String()
	}
	return List[s4t.AuditRecord]{c, "list audit records", query(path("audit"), "board", board, "since", s)}
}
