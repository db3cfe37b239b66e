package store

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
)

// smallTables have few rows, however many boards there are.
var smallTables = []string{"agents", "certificate", "events_trimmed", "processes", "realizations_filled", "secrets"}

// mayScan are statements that may read a table that grows from end to end, and
// why: parts of their texts, with single spaces.
var mayScan = []struct{ text, why string }{
	{"UNION SELECT p.network AS id FROM ports p", "puts two lists in order, each along an index"},
	{"SELECT leaving, MIN(leaving_until) FROM (", "what is on its way, along two indexes"},
	{"LIMIT 1 OFFSET ?", "trimming walks the ids that it keeps, once an hour"},
	{"ra.object = u.network ORDER BY u.network", "every uplink, which are few"},
	{"FROM audit GROUP BY project", "counts every record, along an index, some times an hour"},
	{"p.status, b.info FROM boards b JOIN presence p", "whom every board trusts, where the certificate changes"},
	{"FROM events GROUP BY project", "counts what is kept, which is bounded, along an index, once a minute"},
	{"FROM operations WHERE kind <> 'command.run' GROUP BY project", "the same"},
	{"FROM runs GROUP BY project", "the same"},
	{"FROM presence p GROUP BY 1", "counts every board, for who watches the cloud"},
	{"SELECT COUNT(*) FROM presence", "counts every board, twice a minute"},
	{"FROM awaits a JOIN presence p", "what running operations wait for, when an agent comes or goes"},
}

// plans are the statements whose plan was looked at, by engine: each once a
// process.
var plans = struct {
	sync.Mutex
	seen map[string]bool
}{seen: map[string]bool{}}

// watchPlans lets a test fail on a statement that reads a table that grows from
// end to end: what it executes on db is explained when it ends.
func watchPlans(t *testing.T, db *DB) {
	var executed []string
	db.executed = func(query string) {
		plans.Lock()
		defer plans.Unlock()
		if key := fmt.Sprint(db.engine, query); !plans.seen[key] {
			plans.seen[key] = true
			executed = append(executed, query)
		}
	}
	t.Cleanup(func() {
		plans.Lock()
		defer plans.Unlock()
		closed := db.write.Ping() != nil // by the test: another will execute the same
		for _, query := range executed {
			if closed {
				delete(plans.seen, fmt.Sprint(db.engine, query))
				continue
			}
			if err := checkPlan(context.Background(), db, query); err != nil {
				t.Errorf("%s\n%v", oneLine(query), err)
			}
		}
	})
}

func oneLine(query string) string { return strings.Join(strings.Fields(query), " ") }

// checkPlan explains one statement.
func checkPlan(ctx context.Context, db *DB, query string) error {
	text := oneLine(query)
	for _, x := range mayScan {
		if strings.Contains(text, x.text) {
			return nil
		}
	}
	explain := explainSQLite
	if db.engine == postgres {
		explain = explainPostgres
	}
	scans, err := explain(ctx, db, query)
	if err != nil {
		return err
	}
	for _, s := range scans {
		if slices.Contains(smallTables, tableOf(text, s.table)) {
			continue
		}
		partial, err := isPartial(ctx, db, s.index)
		if err != nil {
			return err
		}
		if partial {
			continue
		}
		return fmt.Errorf("reads %s from end to end: %s", s.table, s.how)
	}
	return nil
}

// scan is a table that is read from end to end, along an index or not.
type scan struct{ table, index, how string }

// isPartial reports whether an index has only some of the rows: all of those
// may be what a statement is after.
func isPartial(ctx context.Context, db *DB, index string) (bool, error) {
	query := `SELECT COUNT(*) FROM sqlite_master WHERE type = 'index' AND name = ? AND sql LIKE '% WHERE %'`
	if db.engine == postgres {
		query = `SELECT COUNT(*) FROM pg_indexes WHERE indexname = $1 AND indexdef LIKE '% WHERE %'`
	}
	var n int
	err := db.write.QueryRowContext(ctx, query, index).Scan(&n)
	return n > 0, err
}

var tables = regexp.MustCompile(`\b(?:FROM|JOIN|INTO|UPDATE) (\w+)(?: AS)?(?: (\w+))?`)

// tableOf is the table that an alias stands for in a statement.
func tableOf(text, alias string) string {
	for _, m := range tables.FindAllStringSubmatch(text, -1) {
		if m[2] == alias {
			return m[1]
		}
	}
	return alias
}

// subqueries have a WHERE of their own.
var subqueries = regexp.MustCompile(`\(SELECT (?:[^()]|\([^()]*\))*\)`)

// explainSQLite finds the scans in a plan. The first page of a list without a
// filter is one, along an index and only as far as its limit.
func explainSQLite(ctx context.Context, db *DB, query string) ([]scan, error) {
	args := make([]any, strings.Count(query, "?"))
	rows, err := db.write.QueryContext(ctx, "EXPLAIN QUERY PLAN "+query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var steps []string
	for rows.Next() {
		var id, parent, unused int
		var detail string
		if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
			return nil, err
		}
		steps = append(steps, detail)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	sorts := slices.ContainsFunc(steps, func(s string) bool { return strings.HasPrefix(s, "USE TEMP B-TREE") })
	bounded := strings.Contains(query, "LIMIT ?") && !strings.Contains(subqueries.ReplaceAllString(query, ""), "WHERE") && !sorts
	var scans []scan
	for _, s := range steps {
		of, ok := strings.CutPrefix(s, "SCAN ")
		// Subqueries and VALUES have names that are no tables.
		if ok && !bounded && !strings.Contains(of, "CONSTANT ROW") && !strings.Contains(of, "VALUES") && of != "told" {
			_, index, _ := strings.Cut(of, " INDEX ")
			scans = append(scans, scan{strings.Fields(of)[0], index, strings.Join(steps, "; ")})
		}
	}
	return scans, nil
}

// node is a node of a plan of PostgreSQL.
type node struct {
	Type      string `json:"Node Type"`
	Relation  string `json:"Relation Name"`
	Index     string `json:"Index Name"`
	IndexCond string `json:"Index Cond"`
	Filter    string `json:"Filter"`
	Plans     []node `json:"Plans"`
}

// explainPostgres finds the scans in the plan that PostgreSQL makes for every
// argument alike, when it avoids scans where it can: without statistics of
// tables with many rows it would choose them for their few.
func explainPostgres(ctx context.Context, db *DB, query string) ([]scan, error) {
	conn, err := db.write.Conn(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	query = dollars(query)
	nulls := ""
	for n := 1; strings.Contains(query, fmt.Sprintf("$%d", n)); n++ {
		nulls += ", NULL"
	}
	if nulls != "" {
		nulls = "(" + nulls[2:] + ")"
	}
	for _, s := range []string{"SET enable_seqscan = off", "SET plan_cache_mode = force_generic_plan", "PREPARE explained AS " + query} {
		if _, err := conn.ExecContext(ctx, s, pgx.QueryExecModeSimpleProtocol); err != nil {
			return nil, err
		}
	}
	defer conn.ExecContext(ctx, "DEALLOCATE explained; RESET ALL", pgx.QueryExecModeSimpleProtocol)
	var text string
	if err := conn.QueryRowContext(ctx, "EXPLAIN (FORMAT JSON) EXECUTE explained"+nulls, pgx.QueryExecModeSimpleProtocol).Scan(&text); err != nil {
		return nil, err
	}
	var plan []struct{ Plan node }
	if err := json.Unmarshal([]byte(text), &plan); err != nil {
		return nil, err
	}
	return plan[0].Plan.scans(false), nil
}

// scans finds them below a node; limited says that a LIMIT above ends them
// early.
func (n node) scans(limited bool) []scan {
	var found []scan
	switch n.Type {
	case "Seq Scan":
		found = append(found, scan{n.Relation, "", n.Type})
	case "Index Scan", "Index Only Scan":
		if n.IndexCond == "" && (!limited || n.Filter != "") {
			found = append(found, scan{n.Relation, n.Index, n.Type + " without a condition"})
		}
	case "Bitmap Index Scan":
		if n.IndexCond == "" {
			found = append(found, scan{n.Relation, n.Index, n.Type + " without a condition"})
		}
	case "Limit":
		limited = true
	case "Sort", "Hash", "Aggregate", "Materialize":
		limited = false
	}
	for _, p := range n.Plans {
		if p.Relation == "" && strings.HasPrefix(n.Type, "Bitmap") {
			p.Relation = n.Relation // said above an index only
		}
		found = append(found, p.scans(limited)...)
	}
	return found
}
