package store

import (
	"fmt"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// used says how to count what a project has of each key: along an index. What
// a query does not count is nothing here: watchers are at the API processes.
var used = map[s4t.QuotaKey]string{
	s4t.QuotaBoards:      `SELECT COUNT(*) FROM boards WHERE project = ?`,
	s4t.QuotaNetworks:    `SELECT COUNT(*) FROM networks WHERE project = ?`,
	s4t.QuotaPorts:       `SELECT COUNT(*) FROM ports WHERE project = ?`,
	s4t.QuotaServices:    `SELECT COUNT(*) FROM services WHERE project = ?`,
	s4t.QuotaPublicPorts: `SELECT COUNT(*) FROM services WHERE project = ? AND public_port > 0`,
	s4t.QuotaUsers:       `SELECT COUNT(*) FROM users WHERE project = ?`,
	s4t.QuotaOffers:      `SELECT COUNT(*) FROM offers WHERE project = ?`,
	s4t.QuotaLeases:      `SELECT COUNT(*) FROM board_leases WHERE project = ? AND status IN ('pending', 'active')`,
	s4t.QuotaFleets:      `SELECT COUNT(*) FROM fleets WHERE project = ?`,
	s4t.QuotaTokens:      `SELECT COUNT(*) FROM tokens WHERE project = ? AND login = 0 AND board_plugin IS NULL`,
	s4t.QuotaPlugins:     `SELECT COUNT(*) FROM plugins WHERE project = ?`,
	s4t.QuotaBundleBytes: `SELECT CAST(COALESCE(SUM(size), 0) AS BIGINT) FROM bundles WHERE project = ?`,
	s4t.QuotaStreams:     `SELECT CAST(COALESCE(SUM(used), 0) AS BIGINT) FROM project_use WHERE project = ? AND key = 'streams'`,
}

// QuotaLimit returns how much of a key a project may have: what an admin said,
// else the default.
func (tx *Tx) QuotaLimit(project s4t.ProjectID, key s4t.QuotaKey) (int64, error) {
	limit, err := one(tx, fmt.Sprintf("find the quota %s of project %q", key, project), value[int64],
		`SELECT quota FROM project_quotas WHERE project = ? AND key = ?`, project, key)
	if s4t.KindOf(err) == s4t.NotFound {
		return s4t.DefaultQuota[key], nil
	}
	return limit, err
}

// Quota returns how much of a key a project has, and may have.
func (tx *Tx) Quota(project s4t.ProjectID, key s4t.QuotaKey) (s4t.Quota, error) {
	limit, err := tx.QuotaLimit(project, key)
	q := s4t.Quota{Limit: limit}
	if query := used[key]; query != "" && err == nil {
		q.Used, err = one(tx, fmt.Sprintf("count the %s of project %q", key, project), value[int64], query, project)
	}
	return q, err
}

// Quotas returns it for every key.
func (tx *Tx) Quotas(project s4t.ProjectID) (map[s4t.QuotaKey]s4t.Quota, error) {
	all := make(map[s4t.QuotaKey]s4t.Quota, len(s4t.DefaultQuota))
	for key := range s4t.DefaultQuota {
		q, err := tx.Quota(project, key)
		if err != nil {
			return nil, err
		}
		all[key] = q
	}
	return all, nil
}

// Claim asks for so many more of a key than a project has: a Conflict where
// that is too many (see [s4t.OverQuota]). op is what was attempted, on what. It
// locks the project, before any other row: until the transaction ends, nobody
// else claims, so that the count is exact.
func (tx *Tx) Claim(op string, project s4t.ProjectID, key s4t.QuotaKey, more int) error {
	name, err := one(tx, op, value[string], `SELECT name FROM projects WHERE id = ?`+tx.forUpdate(), project)
	if err != nil {
		return err
	}
	q, err := tx.Quota(project, key)
	if err == nil && q.Limit != s4t.Unlimited && q.Used+int64(more) > q.Limit {
		return s4t.OverQuota(op, key, name, q, int64(more))
	}
	return err
}

// SetQuota says how much of a key a project may have; nil is the default, of
// now and of later versions. What the project has above it stays.
func (tx *Tx) SetQuota(project s4t.ProjectID, key s4t.QuotaKey, limit *int64) error {
	op := fmt.Sprintf("set the quota %s of project %q", key, project)
	if limit == nil {
		_, err := tx.exec(op, `DELETE FROM project_quotas WHERE project = ? AND key = ?`, project, key)
		return err
	}
	_, err := tx.exec(op, `INSERT INTO project_quotas (project, key, quota) VALUES (?, ?, ?) ON CONFLICT (project, key) DO UPDATE SET quota = excluded.quota`, project, key, *limit)
	return err
}

// SetUse writes what has changed in what an agent holds of quotas: none is no
// use.
func (tx *Tx) SetUse(agent s4t.AgentID, use []wire.Use) error {
	op := fmt.Sprintf("record what agent %q uses", agent)
	var some []wire.Use
	for _, u := range use {
		if u.Used > 0 {
			some = append(some, u)
		} else if _, err := tx.exec(op, `DELETE FROM project_use WHERE agent = ? AND project = ? AND key = ?`, agent, u.Project, u.Key); err != nil {
			return err
		}
	}
	return insert(tx, op, `INSERT INTO project_use (agent, project, key, used) VALUES `, some, func(u wire.Use) []any { return []any{agent, u.Project, u.Key, u.Used} },
		` ON CONFLICT (agent, project, key) DO UPDATE SET used = excluded.used`)
}

// ForgetUse writes that an agent holds nothing of any quota.
func (tx *Tx) ForgetUse(agent s4t.AgentID) error {
	_, err := tx.exec(fmt.Sprintf("record what agent %q uses", agent), `DELETE FROM project_use WHERE agent = ?`, agent)
	return err
}
