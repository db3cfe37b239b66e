package apiclient

import "github.com/stack4things/s4t"

// The bounds in these bodies are those of the ground (s4t.MaxName and the
// like), as a test of package api holds: a tag cannot name a constant.

// Login is the body of POST /v1/login.
type Login struct {
	User     string `json:"user" minLength:"1" maxLength:"63" doc:"Name of the user"`
	Password string `json:"password" minLength:"1" maxLength:"1024" doc:"Password of the user"`
	Project  string `json:"project,omitempty" maxLength:"63" doc:"Name or id of a project; the user's own by default"`
	Expires  string `json:"expires,omitempty" maxLength:"32" example:"24h" doc:"How long the token is valid; by default a week"`
}

// SessionHeader is the header that has the half of a browser's session that is no cookie.
const SessionHeader = "X-S4T-Session"

// SessionCreate is the body of POST /v1/session: a user and a password, or a code.
type SessionCreate struct {
	User     string `json:"user,omitempty" maxLength:"63" doc:"Name of the user"`
	Password string `json:"password,omitempty" maxLength:"1024" doc:"Password of the user"`
	Project  string `json:"project,omitempty" maxLength:"63" doc:"Name or id of a project; the user's own by default"`
	Code     string `json:"code,omitempty" maxLength:"64" doc:"Code of POST /v1/session/code"`
}

// ProjectCreate is the body of POST /v1/projects.
type ProjectCreate struct {
	Name   string `json:"name" minLength:"1" maxLength:"63" doc:"Unique name"`
	Weight int    `json:"weight,omitempty" minimum:"1" maximum:"1000" doc:"Of its share of a busy tunnel agent, beside other projects; 1 by default"`
}

// ProjectUpdate is the body of PATCH /v1/projects/{project}; what is absent
// stays.
type ProjectUpdate struct {
	Weight *int `json:"weight,omitempty" minimum:"1" maximum:"1000" doc:"New weight"`

	RecordTerminals *bool `json:"record_terminals,omitempty" doc:"Whether terminals of the project's boards are recorded, and say so; the role manager is enough for this alone"`

	Quota map[s4t.QuotaKey]*int64 `json:"quota,omitempty" example:"{\"ports\":9000,\"boards\":null}" doc:"What the project may have: 0 or more, -1 for no limit, null for the default. Keys: boards, networks, ports, services, public_ports, users, tokens, fleets, streams, watchers, plugins, bundle_bytes"`
}

// UserCreate is the body of POST /v1/users.
type UserCreate struct {
	Name     string   `json:"name" minLength:"1" maxLength:"63" doc:"Unique name"`
	Project  string   `json:"project" minLength:"1" maxLength:"63" doc:"Name or id of the user's project"`
	Role     s4t.Role `json:"role" enum:"reader,member,manager,admin" doc:"What the user may do: an admin is the cloud's, whatever the project"`
	Password string   `json:"password,omitempty" maxLength:"1024" doc:"At least 12 bytes; none: the user cannot log in and has tokens only"`
}

// UserPassword is the body of PUT /v1/users/{user}/password.
type UserPassword struct {
	Password string `json:"password" minLength:"1" maxLength:"1024" doc:"New password, at least 12 bytes"`
}

// TokenCreate is the body of POST /v1/tokens.
type TokenCreate struct {
	User    string   `json:"user,omitempty" maxLength:"63" doc:"Name or id of a user whose token it is; the caller by default, another's takes the role manager"`
	Project string   `json:"project,omitempty" maxLength:"63" doc:"Name or id; the caller's by default"`
	Role    s4t.Role `json:"role,omitempty" enum:"reader,member,manager,admin" doc:"Never stronger than the caller's, which is the default"`
	Expires string   `json:"expires,omitempty" maxLength:"32" example:"24h" doc:"How long the token is valid, for example 90m or 24h; at most as long as the caller's, which is the default"`
}

// BoardCreate is the body of POST /v1/boards.
type BoardCreate struct {
	Name     string            `json:"name" minLength:"1" maxLength:"63" doc:"Unique in the project"`
	Type     string            `json:"type,omitempty" maxLength:"63" doc:"Hardware, for people"`
	Labels   map[string]string `json:"labels,omitempty" doc:"At most 64, and with the type 4096 bytes together"`
	Location *s4t.Location     `json:"location,omitempty" doc:"WGS 84"`
}

// BoardUpdate is the body of PATCH /v1/boards/{board}; what is absent stays.
type BoardUpdate struct {
	Name     *string           `json:"name,omitempty" minLength:"1" maxLength:"63" doc:"New name"`
	Type     *string           `json:"type,omitempty" maxLength:"63" doc:"New type"`
	Labels   map[string]string `json:"labels,omitempty" doc:"The new set, whole"`
	Location *s4t.Location     `json:"location,omitempty" doc:"New location"`
	NewCode  bool              `json:"new_code,omitempty" doc:"Make a new registration code for a board that is not enrolled; the answer has it, and the join string"`
	Replace  bool              `json:"replace,omitempty" doc:"With new_code, for an enrolled board too: its key ends when the code is used, and ports and services stay"`
}

// StreamOpen is the body of POST /v1/boards/{board}/streams.
type StreamOpen struct {
	TCPPort  int    `json:"port,omitempty" minimum:"0" maximum:"65535" doc:"TCP port of the service"`
	Target   string `json:"target,omitempty" maxLength:"255" doc:"Host on the board's LAN, where the board allows it; the board itself by default"`
	Terminal bool   `json:"terminal,omitempty" doc:"Open a shell of the board in the place of a port, where its owner allows it; with resumable"`

	Resumable string `json:"resumable,omitempty" pattern:"^[0-9a-f]{32}$" doc:"A random name for the stream, 32 hexadecimal digits: it can be resumed after its connection was lost, where the answer says so"`
	Again     bool   `json:"again,omitempty" doc:"Resume the stream of that name, of the same user, board, port and target"`

	HostKeys bool `json:"host_keys,omitempty" doc:"Ask the board for the SSH host keys of the service"`
}

// ServiceExpose is the body of POST /v1/boards/{board}/services.
type ServiceExpose struct {
	Service    string `json:"service" minLength:"1" maxLength:"63" example:"ssh" doc:"Name of a well-known service, or a TCP port"`
	Target     string `json:"target,omitempty" maxLength:"255" doc:"Host on the board's LAN, where the board allows it; the board itself by default"`
	PublicPort int    `json:"public_port,omitempty" minimum:"0" maximum:"65535" doc:"Wanted public port; 0 chooses one"`
	DNSName    string `json:"dns_name,omitempty" maxLength:"62" example:"kitchen-ssh" doc:"Name in the cloud's DNS zone: letters, digits and inner hyphens; unique in the cloud; none by default"`
}

// ServiceUpdate is the body of PATCH /v1/boards/{board}/services/{service}; what is absent stays.
type ServiceUpdate struct {
	DNSName *string `json:"dns_name,omitempty" maxLength:"62" example:"kitchen-ssh" doc:"New name in the cloud's DNS zone; empty: none any more"`
}

// BridgeCreate is the body of POST /v1/bridges.
type BridgeCreate struct {
	Name          string            `json:"name" minLength:"1" maxLength:"63" doc:"Unique in the project"`
	Boards        []string          `json:"boards,omitempty" maxItems:"250" doc:"Names or ids"`
	Fleet         string            `json:"fleet,omitempty" maxLength:"63" doc:"Name or id of a fleet: its boards now, besides those that are named"`
	CIDR          string            `json:"cidr,omitempty" maxLength:"64" example:"10.77.0.0/24" doc:"IPv4 addresses; none: no addresses are given; chosen by default"`
	CIDR6         string            `json:"cidr6,omitempty" maxLength:"64" example:"fd00:77::/64" doc:"IPv6 addresses; none by default: no addresses are given"`
	Layer         int               `json:"layer,omitempty" enum:"2,3" doc:"2 by default"`
	Encapsulation s4t.Encapsulation `json:"encapsulation,omitempty" enum:"ethernet,gre" doc:"ethernet by default"`
	MTU           int               `json:"mtu,omitempty" minimum:"576" maximum:"9000" doc:"Bytes of an IP packet"`
	Guards        *s4t.PortGuards   `json:"guards,omitempty" doc:"Which guards are lifted on every port"`
	RequireOnline bool              `json:"require_online,omitempty" doc:"Refuse when a board is offline, rather than wait for it"`

	AllowPublicCIDR bool `json:"allow_public_cidr,omitempty" doc:"cidr and cidr6 may be blocks of the Internet, which the boards can then not reach"`
}

// BridgeChange is the body of POST /v1/bridges/{bridge}/boards and
// .../boards/remove.
type BridgeChange struct {
	Boards        []string        `json:"boards,omitempty" maxItems:"250" doc:"Names or ids"`
	Fleet         string          `json:"fleet,omitempty" maxLength:"63" doc:"Name or id of a fleet: its boards now, besides those that are named"`
	Guards        *s4t.PortGuards `json:"guards,omitempty" doc:"Which guards are lifted on the added ports"`
	RequireOnline bool            `json:"require_online,omitempty" doc:"Refuse when a board is offline, rather than wait for it"`
}

// Version is the answer of GET /v1/version.
type Version struct {
	Version string `json:"version" doc:"Of iotronic"`
	API     string `json:"api" doc:"Version of the API: the first part of each path"`
}

// Trust is the answer of GET /v1/trust: what to trust as the cloud's certificate
// from now on.
type Trust struct {
	CAs         []string `json:"cas,omitempty" doc:"CA certificates, PEM: of the certificate that is shown, and of those to come"`
	SystemRoots bool     `json:"system_roots,omitempty" doc:"What the client's system trusts, too"`
	Sum         string   `json:"sum" doc:"Of all that: the header S4t-Trust of every answer"`
}

// TrustHeader is the header of an answer that has [Trust.Sum].
const TrustHeader = "S4t-Trust"

// Problem is the body of every error answer: RFC 9457 with two members of our
// own, kind and hint.
type Problem struct {
	Type   string   `json:"type" doc:"Always about:blank; kind says more"`
	Title  string   `json:"title" doc:"Text of the status code"`
	Status int      `json:"status" doc:"The status code"`
	Detail string   `json:"detail" doc:"What was attempted, on what, and what is wrong"`
	Kind   s4t.Kind `json:"kind" enum:"invalid,not_found,unauthenticated,forbidden,conflict,offline,unavailable,timeout,too_many,stale,failed,internal" doc:"What can be done about it, for programs"`
	Hint   string   `json:"hint,omitempty" doc:"What to do, for people"`

	Operation s4t.OperationID `json:"operation,omitempty" doc:"Of a command that began"`
}
