package main

import (
	"crypto/ed25519"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the cloud's databases, into which the boards are written
	_ "modernc.org/sqlite"
)

// enrolAtOnce is how many boards one statement writes.
const enrolAtOnce = 500

// enrol writes boards into a database as if they had joined; their keys are
// those of lightningrod's fleet.
func enrol(driver, source string, n int) error {
	db, err := sql.Open(driver, source)
	if err != nil {
		return err
	}
	defer db.Close()
	var project string
	if err := db.QueryRow(`SELECT id FROM projects LIMIT 1`).Scan(&project); err != nil {
		return err
	}
	tx, err := db.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback()
	for first := 0; first < n; first += enrolAtOnce {
		var boards, presence []string // nothing in them is anybody else's word
		for i := first; i < min(first+enrolAtOnce, n); i++ {
			seed := sha256.Sum256([]byte("fleet " + strconv.Itoa(i)))
			key := ed25519.NewKeyFromSeed(seed[:]).Public().(ed25519.PublicKey)
			id := fmt.Sprintf("%08x-0000-4000-8000-000000000000", i)
			boards = append(boards, fmt.Sprintf(`('fleet%d', '', '{}', '', 1, '%s', '', 0, 0, '', '', '%s', '%s', %d)`,
				i, base64.StdEncoding.EncodeToString(key), id, project, time.Now().UnixMicro()))
			presence = append(presence, fmt.Sprintf(`('%s', 'registered', 0, 1, 0, 0, '', '', '')`, id))
		}
		for _, statement := range []string{
			`INSERT INTO boards (name, type, labels, location, code_used, public_key, tunnel_agent, streams_until, cloned_at, info, problems, id, project, created_at) VALUES ` + strings.Join(boards, ","),
			`INSERT INTO presence (board, status, epoch, generation, applied, report_seq, wamp_agent, incarnation, instance) VALUES ` + strings.Join(presence, ","),
		} {
			if _, err := tx.Exec(statement); err != nil {
				return err
			}
		}
	}
	if err := tx.Commit(); err != nil || driver == "sqlite" {
		return err
	}
	_, err = db.Exec(`ANALYZE`) // as PostgreSQL does by itself, but not before it looks
	return err
}
