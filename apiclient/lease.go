package apiclient

import (
	"context"
	"net/url"
	"strconv"
	"time"

	"github.com/stack4things/s4t"
)

// LeaseCreate is the body of POST /v1/leases.
type LeaseCreate struct {
	Name     string            `json:"name,omitempty" maxLength:"63" doc:"Unique among the project's leases that are not over; one is made where none is given"`
	Boards   []string          `json:"boards,omitempty" maxItems:"1000" doc:"Names or ids, all or nothing"`
	Fleet    string            `json:"fleet,omitempty" maxLength:"63" doc:"Name or id of a fleet: its boards now, besides those that are named"`
	Labels   map[string]string `json:"labels,omitempty" doc:"With count: boards that have all of them"`
	Count    int               `json:"count,omitempty" minimum:"0" maximum:"1000" doc:"So many boards, those that fit best"`
	Near     *s4t.Location     `json:"near,omitempty" doc:"With count: boards at most within_km from there"`
	Within   float64           `json:"within_km,omitempty" minimum:"0" maximum:"20100" doc:"Kilometres, for near; 10 by default"`
	Pin      string            `json:"pin,omitempty" maxLength:"189" doc:"With count: boards with a pin whose name or label is like that, as gpio/*/17"`
	From     *time.Time        `json:"from,omitempty" doc:"Now by default"`
	For      s4t.Seconds       `json:"for_seconds,omitempty" minimum:"0" doc:"Two hours by default"`
	Priority int               `json:"priority,omitempty" minimum:"0" maximum:"100" doc:"A lease of a lower one yields, after 60 s"`
	Allow    []string          `json:"allow,omitempty" maxItems:"6" doc:"ssh, service, bridge, pins, commands, plugins; what the offers allow by default"`
	Partial  bool              `json:"partial,omitempty" doc:"Take the boards that are free, also where those are not all"`
}

// LeaseExtend is the body of PATCH /v1/leases/{lease}.
type LeaseExtend struct {
	For s4t.Seconds `json:"for_seconds" minimum:"1" doc:"Longer than it was to be"`
}

// LeaseShare is the body of POST /v1/leases/{lease}/shares.
type LeaseShare struct {
	To     string     `json:"to" minLength:"1" maxLength:"63" doc:"Name or id of the project that gets it"`
	Name   string     `json:"name,omitempty" maxLength:"63" doc:"The lease's by default"`
	Boards []string   `json:"boards,omitempty" maxItems:"1000" doc:"Boards of the lease; all by default"`
	Allow  []string   `json:"allow,omitempty" maxItems:"6" doc:"No more than the lease does, which is the default"`
	Until  *time.Time `json:"until,omitempty" doc:"Not later than the lease ends, which is the default"`
}

// CreateLease books boards, all or nothing.
func (c *Client) CreateLease(ctx context.Context, req LeaseCreate) (l s4t.Lease, err error) {
	return l, c.do(ctx, "create lease "+req.Name, "POST", path("leases"), req, &l)
}

// LeaseList is the list of leases that the project has, and of those of its boards.
func (c *Client) LeaseList() List[s4t.Lease] {
	return List[s4t.Lease]{c, "list leases", path("leases")}
}

// Lease by name or id.
func (c *Client) Lease(ctx context.Context, ref string) (l s4t.Lease, err error) {
	return l, c.do(ctx, "show lease "+ref, "GET", path("leases", ref), nil, &l)
}

// ExtendLease has a lease end later by so much.
func (c *Client) ExtendLease(ctx context.Context, ref string, by time.Duration) (l s4t.Lease, err error) {
	return l, c.do(ctx, "extend lease "+ref, "PATCH", path("leases", ref), LeaseExtend{s4t.Seconds(by / time.Second)}, &l)
}

// ReleaseLease gives boards back; who lent them takes them back.
func (c *Client) ReleaseLease(ctx context.Context, ref string) (l s4t.Lease, err error) {
	return l, c.do(ctx, "release lease "+ref, "DELETE", path("leases", ref), nil, &l)
}

// ShareLease passes on a part of a lease to another project.
func (c *Client) ShareLease(ctx context.Context, ref string, req LeaseShare) (l s4t.Lease, err error) {
	return l, c.do(ctx, "share lease "+ref, "POST", path("leases", ref, "shares"), req, &l)
}

// WhoCan lists who may do what on a board now; action "" means any.
func (c *Client) WhoCan(ctx context.Context, board, action string) ([]s4t.Access, error) {
	return List[s4t.Access]{c, "see who can use board " + board, query(path("boards", board, "access"), "action", action)}.All(ctx)
}

// BoardSearch says which boards are searched; what is zero does not count.
type BoardSearch struct {
	Labels map[string]string
	Fleet  string // name or id: boards of it
	Near   *s4t.Location
	Within float64 // kilometres from Near
	Area   []byte  // GeoJSON: a Polygon or MultiPolygon, or a Feature with one
	Pin    string  // a pattern of names or labels of pins
	From   time.Time
	For    time.Duration
}

// SearchBoards finds boards that the project may book: its own and those offered to it.
func (c *Client) SearchBoards(ctx context.Context, s BoardSearch) ([]s4t.FoundBoard, error) {
	q := url.Values{}
	for k, v := range s.Labels {
		q.Add("label", k+"="+v)
	}
	number := func(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }
	if s.Near != nil {
		q.Set("near", number(s.Near.Latitude)+","+number(s.Near.Longitude))
	}
	if s.Within > 0 {
		q.Set("within_km", number(s.Within))
	}
	if s.Fleet != "" {
		q.Set("fleet", s.Fleet)
	}
	if s.Pin != "" {
		q.Set("pin", s.Pin)
	}
	if !s.From.IsZero() {
		q.Set("free_from", s.From.UTC().Format(time.RFC3339))
	}
	if s.For > 0 {
		q.Set("free_for_seconds", strconv.FormatInt(int64(s.For/time.Second), 10))
	}
	if len(s.Area) > 0 {
		return c.searchArea(ctx, s)
	}
	p := path("search", "boards")
	if len(q) > 0 {
		p += "?" + q.Encode()
	}
	return List[s4t.FoundBoard]{c, "search boards", p}.All(ctx)
}
