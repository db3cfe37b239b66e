package store

import (
	"fmt"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

const userColumns = `id, name, project, role, created_at`

func scanUser(s scanner) (s4t.User, error) {
	var u s4t.User
	var created int64
	err := s.Scan(&u.ID, &u.Name, &u.Project, &u.Role, &created)
	u.CreatedAt = fromMicros(created)
	return u, err
}

// InsertUser adds a user; passwordHash in PHC form, empty for a user who cannot
// log in. A name that exists is a Conflict on users.name.
func (tx *Tx) InsertUser(u s4t.User, passwordHash string) error {
	_, err := tx.exec(fmt.Sprintf("create user %q", u.Name),
		`INSERT INTO users (`+userColumns+`, password) VALUES (?, ?, ?, ?, ?, ?)`,
		u.ID, u.Name, u.Project, u.Role, micros(u.CreatedAt), passwordHash)
	return err
}

// User returns the user with this name or id.
func (tx *Tx) User(ref string) (s4t.User, error) {
	return one(tx, fmt.Sprintf("find user %q", ref), scanUser,
		`SELECT `+userColumns+` FROM users WHERE id = ? OR name = ?`, ref, ref)
}

// UserPassword returns the password hash of a user.
func (tx *Tx) UserPassword(id s4t.UserID) (string, error) {
	return one(tx, fmt.Sprintf("find user %q", id), value[string], `SELECT password FROM users WHERE id = ?`, id)
}

// SetUserPassword replaces the password hash of a user.
func (tx *Tx) SetUserPassword(id s4t.UserID, passwordHash string) error {
	_, err := tx.exec(fmt.Sprintf("change the password of user %q", id), `UPDATE users SET password = ? WHERE id = ?`, passwordHash, id)
	return err
}

var usersByName = order[s4t.User]{"name", func(u s4t.User) []any { return []any{u.Name} }}

// Users returns a page of the users of a project, by name; "" means every
// project.
func (tx *Tx) Users(project s4t.ProjectID, p wire.Page) (wire.List[s4t.User], error) {
	return page(tx, "list users", p, usersByName, scanUser, `SELECT `+userColumns+` FROM users`, equal(filter{}, "project", project))
}

// Admins returns the ids of the users that are admins, and locks them: nobody
// else deletes one until the transaction ends.
func (tx *Tx) Admins() ([]s4t.UserID, error) {
	return many(tx, "find the admins", value[s4t.UserID], `SELECT id FROM users WHERE role = 'admin' ORDER BY id`+tx.forUpdate())
}

// DeleteUser deletes a user with all tokens of the user.
func (tx *Tx) DeleteUser(id s4t.UserID) error {
	_, err := tx.exec(fmt.Sprintf("delete user %q", id), `DELETE FROM users WHERE id = ?`, id)
	return err
}
