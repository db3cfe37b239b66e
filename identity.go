package s4t

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Project is the tenant: every object belongs to one.
type Project struct {
	ID        ProjectID `json:"id"`
	Name      string    `json:"name"`
	Weight    int       `json:"weight"` // of its share of a busy tunnel agent, beside other projects: 1 to MaxWeight
	CreatedAt time.Time `json:"created_at"`

	RecordTerminals bool `json:"record_terminals"` // terminals of its boards are recorded, and say so

	// Quota is what it uses and may use of each [QuotaKey]; only where one
	// project is asked for.
	Quota map[QuotaKey]Quota `json:"quota,omitempty"`
}

// QuotaKey names something of which a project may have so many.
type QuotaKey string

// The keys. Streams and watchers are those that are open now.
const (
	QuotaBoards      QuotaKey = "boards"
	QuotaNetworks    QuotaKey = "networks"
	QuotaPorts       QuotaKey = "ports"
	QuotaServices    QuotaKey = "services"
	QuotaPublicPorts QuotaKey = "public_ports"
	QuotaUsers       QuotaKey = "users"
	QuotaTokens      QuotaKey = "tokens" // made by others; of those that a login gave, each user has so many
	QuotaStreams     QuotaKey = "streams"
	QuotaFleets      QuotaKey = "fleets"
	QuotaOffers      QuotaKey = "offers"
	QuotaLeases      QuotaKey = "leases"   // that are not over, and shares of them
	QuotaWatchers    QuotaKey = "watchers" // streams of events and long polls, at one API process
	QuotaPlugins     QuotaKey = "plugins"
	QuotaBundleBytes QuotaKey = "bundle_bytes" // of the bundles of their versions, and of those that are uploaded
)

// Quota is a share: how much of it is used, and how much is allowed.
type Quota struct {
	Used  int64 `json:"used"`
	Limit int64 `json:"limit"` // [Unlimited]: no limit
}

// Unlimited is the limit of a project that has none; MaxQuota is the highest
// that can be said.
const (
	Unlimited       = -1
	MaxQuota  int64 = 1_000_000_000_000_000
)

// DefaultQuota is what a project may have until an admin says otherwise: enough
// for a fleet, and a small part of what one process can carry.
var DefaultQuota = map[QuotaKey]int64{
	QuotaBoards:      2000,
	QuotaNetworks:    500,
	QuotaPorts:       5000,
	QuotaServices:    2000,
	QuotaPublicPorts: 1000,
	QuotaUsers:       500,
	QuotaTokens:      1000,
	QuotaStreams:     1000,
	QuotaFleets:      200,
	QuotaOffers:      200,
	QuotaLeases:      500,
	QuotaWatchers:    128,
	QuotaPlugins:     200,
	QuotaBundleBytes: 2_000_000_000,
}

// ValidQuota checks a limit that a project is to have; nil, the default, is
// one. op is what was attempted, on what.
func ValidQuota(op string, key QuotaKey, limit *int64) error {
	if _, known := DefaultQuota[key]; !known {
		return Errorf(Invalid, op, "use one of "+strings.Join(QuotaKeys(), ", "), "there is no quota %q", Line(string(key), MaxName))
	}
	if limit != nil && *limit != Unlimited && (*limit < 0 || *limit > MaxQuota) {
		return Errorf(Invalid, op, fmt.Sprintf("use 0 to %d, or %d for no limit", MaxQuota, Unlimited), "a quota of %d %s is not possible", *limit, key)
	}
	return nil
}

// QuotaKeys are the keys, sorted.
func QuotaKeys() []string {
	var keys []string
	for k := range DefaultQuota {
		keys = append(keys, string(k))
	}
	slices.Sort(keys)
	return keys
}

// OverQuota is the error of who asks for more than a project may have: what is
// used, what is allowed, and who can raise it. op is what was attempted, on
// what; more is how many were asked for.
func OverQuota(op string, key QuotaKey, project string, q Quota, more int64) *Error {
	return Errorf(Conflict, op, fmt.Sprintf("remove some, or ask an admin of this cloud for `s4t project update %s --quota %s=N`", project, key),
		"project %q uses %d of its %d %s, and %d more would be too many", project, q.Used, q.Limit, strings.ReplaceAll(string(key), "_", " "), more)
}

// ValidWeight checks the weight of a project. op is what was attempted, on
// what.
func ValidWeight(op string, weight int) error {
	if weight < 1 || weight > MaxWeight {
		return Errorf(Invalid, op, fmt.Sprintf("use 1 to %d", MaxWeight), "a weight of %d is not possible", weight)
	}
	return nil
}

// Role of a user or token in a project.
type Role string

// The roles, weakest first: the names and the meaning of Keystone's defaults.
const (
	RoleReader  Role = "reader"  // sees
	RoleMember  Role = "member"  // sees, changes boards and networks, opens streams
	RoleManager Role = "manager" // the above, and manages users and tokens of its project
	RoleAdmin   Role = "admin"   // the above, in every project, and what touches the cloud itself
)

// Roles are all of them, weakest first.
var Roles = []Role{RoleReader, RoleMember, RoleManager, RoleAdmin}

// level orders the roles; 0 is no role.
func (r Role) level() int {
	switch r {
	case RoleReader:
		return 1
	case RoleMember:
		return 2
	case RoleManager:
		return 3
	case RoleAdmin:
		return 4
	}
	return 0
}

// Valid reports whether r is one of the roles.
func (r Role) Valid() bool { return r.level() > 0 }

// Covers reports whether r may do what needs allows.
func (r Role) Covers(needs Role) bool { return needs.Valid() && r.level() >= needs.level() }

// Weaker returns r, or the other one where that is the weaker of the two.
func (r Role) Weaker(other Role) Role {
	if other.Covers(r) {
		return r
	}
	return other
}

// Lacks is the error of a caller whose role is not enough: which is needed, and
// who has or gives it. op is what was attempted, on what.
func Lacks(op string, needs, has Role) *Error {
	hint := "ask a manager of the project, or an admin of this cloud"
	if needs == RoleAdmin {
		hint = "ask an admin of this cloud"
	}
	if has == "" {
		has = "none"
	}
	return Errorf(Forbidden, op, hint, "it needs the role %s, this token has %s", needs, has)
}

// NoRole is the error of a word that is no role.
func NoRole(op string, word Role) *Error {
	return Errorf(Invalid, op, "use reader, member, manager or admin", "there is no role %q", Line(string(word), MaxName))
}

// User may log in with a password. The password is never in this struct.
type User struct {
	ID        UserID    `json:"id"`
	Name      string    `json:"name"`
	Project   ProjectID `json:"project"`
	Role      Role      `json:"role"`
	CreatedAt time.Time `json:"created_at"`
}

// Token is a bearer token of a project with a role.
type Token struct {
	ID        TokenID    `json:"id"`
	Secret    string     `json:"token,omitempty"` // shown once, in the answer to create
	User      string     `json:"user"`            // name of the user it acts for
	Project   ProjectID  `json:"project"`
	Role      Role       `json:"role"`
	ExpiresAt *time.Time `json:"expires_at"` // nil: never
	CreatedAt time.Time  `json:"created_at"`

	// Parent is the token that made it, and ends it with itself; empty: it was
	// made by a login, or by the first start.
	Parent TokenID `json:"parent,omitempty"`

	// Session says that it is a browser's, which ends, too, when it was not used for
	// [SessionIdle]; UsedAt is when it was used last, within some minutes.
	Session bool       `json:"session,omitempty"`
	UsedAt  *time.Time `json:"used_at,omitempty"`
}

// Session says who makes a request, and with which token.
type Session struct {
	User        string     `json:"user"`
	Role        Role       `json:"role"`
	Project     ProjectID  `json:"project"`
	ProjectName string     `json:"project_name"`
	Token       TokenID    `json:"token"`      // its id
	ExpiresAt   *time.Time `json:"expires_at"` // of the token, at the latest; nil: never
	Browser     bool       `json:"browser"`    // it is a browser's; see [Token].Session

	// Half is what a browser's scripts keep of it; only in the answer that began it.
	Half string `json:"session,omitempty"`
}

// How long a browser's session lasts: from its begin, and from its last use.
const (
	SessionLifetime = 7 * 24 * time.Hour
	SessionIdle     = 12 * time.Hour
)

// LoginCode logs a browser in, once, as who asked for it.
type LoginCode struct {
	Code      string    `json:"code"`
	ExpiresAt time.Time `json:"expires_at"`
}

// LoginCodeLifetime is how long a [LoginCode] can be used.
const LoginCodeLifetime = time.Minute
