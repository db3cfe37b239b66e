// Package store holds the rows: one file a noun, one SQL text for SQLite and
// PostgreSQL. It knows no rules ("may this board ...").
//
// Noun functions are methods on [Tx]; they run inside [DB.Tx] (writes) or
// [DB.View] (reads). What a transaction may rely on is said there. A new noun
// is a file here and a file in migrations; what both engines understand is used
// and nothing else:
//
//   - ids and names are TEXT, times BIGINT (microseconds since 1970, UTC; see
//     micros), JSON is TEXT, a boolean is INTEGER 0 or 1, and what grows is
//     BIGINT (an INTEGER of PostgreSQL has 32 bits).
//   - Placeholders are '?'. RETURNING, ON CONFLICT, partial unique indexes and
//     row values ("(a, b) > (?, ?)") are the same on both.
//   - A row that is changed on the strength of what it says is read with
//     forUpdate, or the condition is part of the UPDATE.
//   - A statement that writes names the columns that it means: others may have
//     changed the rest since they were read.
//   - A list is read by page, in an order that an index has. What filters it is
//     put together in Go (filter): one that asks "is there a value, or ..." uses no
//     index. A query that reads a table that grows from end to end fails its
//     test (see watchPlans).
//   - Ids that grow come from the engine: SQLite's AUTOINCREMENT, PostgreSQL's
//     identity columns. They have holes, and, but for events (see
//     [Tx.InsertEvents]), their order is not that of the commits.
//   - A migration that cannot be said alike is two files (see migrations).
//   - What belongs to a project has a column that REFERENCES projects(id), so
//     that a project with something in it cannot be deleted.
package store
