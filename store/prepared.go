package store

import (
	"context"
	"database/sql"
	"sync"
)

// maxPrepared bounds the statements that are kept prepared: some are long
// lists, each of its own length.
const maxPrepared = 512

// prepared are the statements of one pool of connections to SQLite, compiled once
// a connection: a third of what a change costs, and half of what a short read
// does, was compiling them. PostgreSQL's driver does the like by itself.
type prepared struct {
	mu    sync.Mutex // guards stmts; never held while the database is asked
	stmts map[string]*sql.Stmt
}

func (p *prepared) get(query string) *sql.Stmt {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stmts[query]
}

// keep prepares statements that a transaction missed, when it has ended: it may
// have had the only connection. One that cannot be prepared is missed again.
func (p *prepared) keep(ctx context.Context, pool *sql.DB, missed []string) {
	for _, query := range missed {
		p.mu.Lock()
		due := p.stmts[query] == nil && len(p.stmts) < maxPrepared
		p.mu.Unlock()
		if !due {
			continue
		}
		stmt, err := pool.PrepareContext(ctx, query)
		if err != nil {
			return
		}
		p.mu.Lock()
		if p.stmts[query] == nil {
			p.stmts[query], stmt = stmt, nil
		}
		p.mu.Unlock()
		if stmt != nil {
			stmt.Close()
		}
	}
}

// compiled is a transaction that uses them.
type compiled struct {
	*sql.Tx
	prepared *prepared
	missed   []string
}

func (w *compiled) stmt(ctx context.Context, query string) *sql.Stmt {
	if s := w.prepared.get(query); s != nil {
		return w.StmtContext(ctx, s)
	}
	w.missed = append(w.missed, query)
	return nil
}

// ExecContext implements statements.
func (w *compiled) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	if s := w.stmt(ctx, query); s != nil {
		return s.ExecContext(ctx, args...)
	}
	return w.Tx.ExecContext(ctx, query, args...)
}

// QueryContext implements statements.
func (w *compiled) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if s := w.stmt(ctx, query); s != nil {
		return s.QueryContext(ctx, args...)
	}
	return w.Tx.QueryContext(ctx, query, args...)
}

// QueryRowContext implements statements.
func (w *compiled) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	if s := w.stmt(ctx, query); s != nil {
		return s.QueryRowContext(ctx, args...)
	}
	return w.Tx.QueryRowContext(ctx, query, args...)
}
