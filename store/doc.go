// Package store holds the rows: one file a noun, one SQL text for SQLite and
// PostgreSQL. It knows no rules ("may this board ...").
//
// Noun functions are methods on [Tx]; they run inside [DB.Tx] (writes) or
// [DB.View] (reads). A new noun is a file here and a file in migrations; what
// both engines understand is used and nothing else:
//
//   - ids and names are TEXT, times BIGINT (microseconds since 1970, UTC; see
//     micros), JSON is TEXT, a boolean is INTEGER 0 or 1, and what grows is
//     BIGINT (an INTEGER of PostgreSQL has 32 bits).
//   - Placeholders are '?'. RETURNING, ON CONFLICT and partial unique indexes
//     are the same on both.
//   - A growing id is inserted as (SELECT COALESCE(MAX(id), 0) + 1 FROM t):
//     ids then grow in the order of commits, which a stream that resumes after
//     an id relies on.
//   - What belongs to a project has a column that REFERENCES projects(id), so
//     that a project with something in it cannot be deleted.
package store
