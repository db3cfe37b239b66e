package s4t

import (
	"fmt"
	"time"
)

// Project is the tenant: every object belongs to one.
type Project struct {
	ID        ProjectID `json:"id"`
	Name      string    `json:"name"`
	Weight    int       `json:"weight"` // of its share of a busy tunnel agent, beside other projects: 1 to MaxWeight
	CreatedAt time.Time `json:"created_at"`
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

// The roles, weakest first.
const (
	RoleReader Role = "reader" // sees
	RoleMember Role = "member" // sees, changes boards and networks, opens streams
	RoleAdmin  Role = "admin"  // the above, in every project, and manages projects, users and tokens of others
)

// level orders the roles; 0 is no role.
func (r Role) level() int {
	switch r {
	case RoleReader:
		return 1
	case RoleMember:
		return 2
	case RoleAdmin:
		return 3
	}
	return 0
}

// Valid reports whether r is one of the roles.
func (r Role) Valid() bool { return r.level() > 0 }

// Covers reports whether r may do what needs allows.
func (r Role) Covers(needs Role) bool { return needs.Valid() && r.level() >= needs.level() }

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
}
