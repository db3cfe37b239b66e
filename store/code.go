package store

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/stack4things/s4t"
)

// BoardCode is the cloud's copy of what a board says of the code that it can run.
type BoardCode struct {
	Code       json.RawMessage // its runtimes and commands; nil: the board never said
	Digest     string          // of Code: while it is the same, so is Code
	Profile    json.RawMessage // s4t.BoardProfile
	ReportedAt time.Time
}

func scanBoardCode(s scanner) (c BoardCode, err error) {
	var code, profile string
	var at int64
	if err = s.Scan(&code, &c.Digest, &profile, &at); err == nil {
		c.Code, c.Profile, c.ReportedAt = json.RawMessage(code), json.RawMessage(profile), fromMicros(at)
	}
	return c, err
}

// BoardCode returns the copy of what a board says of its code; the zero value
// where there is none.
func (tx *Tx) BoardCode(id s4t.BoardID) (BoardCode, error) {
	c, err := one(tx, fmt.Sprintf("find the commands of board %q", id), scanBoardCode, `SELECT code, digest, profile, reported_at FROM board_code WHERE board = ?`, id)
	if s4t.KindOf(err) == s4t.NotFound {
		return BoardCode{}, nil
	}
	return c, err
}

// CodeDigest returns the digest of the copy of a board's code; empty where there is
// none.
func (tx *Tx) CodeDigest(id s4t.BoardID) (string, error) {
	d, err := one(tx, fmt.Sprintf("find the commands of board %q", id), value[string], `SELECT digest FROM board_code WHERE board = ?`, id)
	if s4t.KindOf(err) == s4t.NotFound {
		return "", nil
	}
	return d, err
}

// BoardProfile returns the copy of what the owner of a board gives, JSON of
// s4t.BoardProfile, and when the board said so; nil where it never did.
func (tx *Tx) BoardProfile(id s4t.BoardID) (json.RawMessage, time.Time, error) {
	c, err := one(tx, fmt.Sprintf("find the profile of board %q", id), scanBoardCode, `SELECT '', '', profile, reported_at FROM board_code WHERE board = ?`, id)
	if s4t.KindOf(err) == s4t.NotFound {
		return nil, time.Time{}, nil
	}
	return c.Profile, c.ReportedAt, err
}

// DigestCode is the digest of what a board says of its code, as JSON.
func DigestCode(code []byte) string {
	sum := sha256.Sum256(code)
	return hex.EncodeToString(sum[:])
}

// SetBoardCode writes the copy of what a board says of its code.
func (tx *Tx) SetBoardCode(id s4t.BoardID, code, profile []byte, at time.Time) error {
	_, err := tx.exec(fmt.Sprintf("record the commands of board %q", id), `INSERT INTO board_code (board, code, digest, profile, reported_at) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (board) DO UPDATE SET code = excluded.code, digest = excluded.digest, profile = excluded.profile, reported_at = excluded.reported_at`,
		id, string(code), DigestCode(code), string(profile), micros(at))
	return err
}

// SetBoardProfile writes what a board says of its profile, where its code is as
// before.
func (tx *Tx) SetBoardProfile(id s4t.BoardID, profile []byte, at time.Time) error {
	_, err := tx.exec(fmt.Sprintf("record the profile of board %q", id), `UPDATE board_code SET profile = ?, reported_at = ? WHERE board = ?`, string(profile), micros(at), id)
	return err
}
