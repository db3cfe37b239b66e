package store

import (
	"database/sql"
	"fmt"
)

// bit is how a boolean is stored.
func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

// flag scans it back.
func flag(b *bool) sql.Scanner { return (*flagScanner)(b) }

type flagScanner bool

func (f *flagScanner) Scan(src any) error {
	n, ok := src.(int64)
	if !ok {
		return fmt.Errorf("a flag is stored as %T", src)
	}
	*f = n != 0
	return nil
}

// textOrNull is how a text that must be unique where there is one is stored.
func textOrNull(s string) sql.NullString { return sql.NullString{String: s, Valid: s != ""} }
