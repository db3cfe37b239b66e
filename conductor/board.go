package conductor

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// newCode makes a registration code: 160 random bits, 32 letters and digits.
func newCode() string {
	var b [20]byte
	rand.Read(b[:])
	return strings.ToLower(base32.StdEncoding.EncodeToString(b[:]))
}

// withCode adds the code and the join string to a board that is shown to who
// made the code; nobody sees them again.
func (c *Conductor) withCode(b s4t.Board, urls []string, code string) s4t.Board {
	b.Code = code
	b.Join = s4t.JoinString{URLs: urls, Code: code, Fingerprint: c.cfg.CAFingerprint(), Name: b.Name}.String()
	return b
}

// shown is a board as a user sees it. An online board was seen within the
// presence timeout: that is now.
func (c *Conductor) shown(b store.Board) s4t.Board {
	if b.Status == s4t.BoardOnline {
		now := c.now().Truncate(time.Microsecond)
		b.LastSeen = &now
	}
	if b.CodeUsed {
		b.CodeExpiresAt = nil
	}
	return b.Board
}

// checkDescription checks what a user says of a board.
func checkDescription(op, typ string, labels map[string]string) error {
	if len(typ) > s4t.MaxName || s4t.Line(typ, s4t.MaxName) != typ {
		return s4t.Errorf(s4t.Invalid, op, fmt.Sprintf("use at most %d bytes of text", s4t.MaxName), "the type is too long, or has characters that do not print")
	}
	if len(labels) > s4t.MaxLabels {
		return s4t.Errorf(s4t.Invalid, op, "", "it has %d labels, %d are allowed", len(labels), s4t.MaxLabels)
	}
	size := len(typ)
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		if k == "" || strings.Contains(k, "=") || s4t.Line(k, s4t.MaxLabelText) != k || s4t.Line(labels[k], s4t.MaxLabelText) != labels[k] {
			return s4t.Errorf(s4t.Invalid, op, fmt.Sprintf("write K=V with at most %d bytes each", s4t.MaxLabelText), "label %q is not valid", s4t.Line(k, s4t.MaxName))
		}
		size += len(k) + len(labels[k])
	}
	if size > s4t.MaxLabelsText { // lists show them all
		return s4t.Errorf(s4t.Invalid, op, "use fewer or shorter labels", "type and labels have %d bytes together, %d are allowed", size, s4t.MaxLabelsText)
	}
	return nil
}

// checkPlace checks the location of a board, where it has one.
func checkPlace(l *s4t.Location) error {
	if l == nil {
		return nil
	}
	return l.Validate()
}

// boardCreate registers a board and makes its code.
func (c *Conductor) boardCreate(ctx context.Context, req wire.BoardCreate) (s4t.Board, error) {
	op := fmt.Sprintf("create board %q", req.Name)
	var made store.Board
	code := newCode()
	urls, err := c.joinURLs(ctx, op, store.Board{Board: s4t.Board{ID: s4t.BoardID(code), Labels: req.Labels}}) // not its id yet: by chance
	if err != nil {
		return s4t.Board{}, err
	}
	err = c.request(ctx, req.Caller, "board.create", req.Name, func(ch *change, rec *s4t.AuditRecord) error {
		if err := s4t.ValidName("board", req.Name); err != nil {
			return err
		}
		if err := checkDescription(op, req.Type, req.Labels); err != nil {
			return err
		}
		if err := checkPlace(req.Location); err != nil {
			return err
		}
		if err := ch.Claim(op, req.Caller.Project, s4t.QuotaBoards, 1); err != nil {
			return err
		}
		expires := ch.now.Add(s4t.CodeLifetime)
		made = store.Board{
			Board: s4t.Board{
				ID: s4t.BoardID(s4t.NewID()), Name: req.Name, Project: req.Caller.Project, Type: req.Type, Labels: req.Labels, Location: req.Location,
				Status: s4t.BoardRegistered, Generation: 1, CreatedAt: ch.now, CodeExpiresAt: &expires,
			},
			CodeHash: codeHash(code),
		}
		rec.Object, rec.Board = string(made.ID), made.ID
		if err := ch.InsertBoard(made); err != nil {
			if store.IsUnique(err, "boards.name") {
				return s4t.Errorf(s4t.Conflict, op, "choose another name", "the project has a board of this name")
			}
			return err
		}
		if err := ch.notePlace(made, nil); err != nil {
			return err
		}
		ch.boardEvent("board.created", made, "")
		return nil
	})
	if err != nil {
		return s4t.Board{}, err
	}
	return c.withCode(made.Board, urls, code), nil
}

// boardGet returns a board.
func (c *Conductor) boardGet(ctx context.Context, req wire.RefRequest) (s4t.Board, error) {
	op := fmt.Sprintf("show board %q", req.Ref)
	if err := allow(req.Caller, op, s4t.RoleReader); err != nil {
		return s4t.Board{}, err
	}
	b, err := view(ctx, c, func(tx *store.Tx) (store.Board, error) {
		b, by, err := findBoard(tx, req.Caller, op, wire.MethodBoardGet, req.Ref)
		if err == nil && by.lent() {
			b.Lease, err = holdsBy(tx, by)
		}
		return b, err
	})
	return c.shown(b), err
}

// boardUpdate changes what the request names.
func (c *Conductor) boardUpdate(ctx context.Context, req wire.BoardUpdate) (s4t.Board, error) {
	op := fmt.Sprintf("update board %q", req.Ref)
	if req.Replace && !req.NewCode {
		return s4t.Board{}, s4t.Errorf(s4t.Invalid, op, "add --new-code", "--replace is for a new code")
	}
	var b store.Board
	var urls []string
	if req.NewCode {
		var err error
		if urls, err = c.joinURLs(ctx, op, store.Board{Board: s4t.Board{ID: s4t.BoardID(req.Ref), Labels: req.Labels}}); err != nil {
			return s4t.Board{}, err
		}
	}
	code := ""
	err := c.request(ctx, req.Caller, "board.update", req.Ref, func(ch *change, rec *s4t.AuditRecord) (err error) {
		code = ""
		if b, _, err = ch.lockBoard(req.Caller, op, wire.MethodBoardUpdate, req.Ref); err != nil {
			return err
		}
		rec.Object, rec.Name, rec.Board, rec.Project = string(b.ID), b.Name, b.ID, b.Project
		renamed := req.Name != nil && *req.Name != b.Name
		if renamed {
			b.Name = *req.Name
		}
		if req.Type != nil {
			b.Type = *req.Type
		}
		if req.Labels != nil {
			b.Labels = req.Labels
		}
		was := b.Location
		if req.Location != nil {
			b.Location = req.Location
		}
		if renamed {
			if err := s4t.ValidName("board", b.Name); err != nil {
				return err
			}
		}
		if req.Type != nil || req.Labels != nil { // what was made under other rules may stay
			if err := checkDescription(op, b.Type, b.Labels); err != nil {
				return err
			}
		}
		if err := checkPlace(req.Location); err != nil {
			return err
		}
		if req.NewCode {
			if code, err = ch.renewCode(op, &b, req.Replace, rec); err != nil {
				return err
			}
		}
		if err := ch.DescribeBoard(b); err != nil {
			if store.IsUnique(err, "boards.name") {
				return s4t.Errorf(s4t.Conflict, op, "choose another name", "the project has a board named %q", b.Name)
			}
			return err
		}
		if err := ch.notePlace(b, was); err != nil {
			return err
		}
		if renamed {
			ch.renew(boardOf(b.ID)) // it is told its name
		}
		ch.boardEvent("board.updated", b, "")
		return nil
	})
	if err != nil {
		return s4t.Board{}, err
	}
	if code != "" {
		return c.withCode(c.shown(b), urls, code), nil
	}
	return c.shown(b), nil
}

// renewCode makes a new code for a board. One that is enrolled gets one only
// with replace: whoever uses it takes the board's place, with all that it has.
func (ch *change) renewCode(op string, b *store.Board, replace bool, rec *s4t.AuditRecord) (string, error) {
	rec.Detail = "new code"
	if len(b.PublicKey) > 0 {
		if !replace {
			return "", s4t.Errorf(s4t.Conflict, op, "run `lightning-rod leave` on the board first; where its state is lost, add --replace: its key then ends when the new code is used, and ports and services stay",
				"it is enrolled: a new code would take it away from the board that has it")
		}
		rec.Detail = "new code; the present key ends when it is used"
		ch.renew(boardOf(b.ID)) // it is told
	}
	code := newCode()
	expires := ch.now.Add(s4t.CodeLifetime)
	b.CodeHash, b.CodeUsed, b.CodeExpiresAt = codeHash(code), false, &expires
	return code, ch.SetBoardKey(*b)
}

// boardDelete removes a board with its ports and services, and ends its
// session: bridges shrink.
func (c *Conductor) boardDelete(ctx context.Context, req wire.RefRequest) (wire.Empty, error) {
	op := fmt.Sprintf("delete board %q", req.Ref)
	return wire.Empty{}, c.request(ctx, req.Caller, "board.delete", req.Ref, func(ch *change, rec *s4t.AuditRecord) error {
		b, _, err := ch.lockBoard(req.Caller, op, wire.MethodBoardDelete, req.Ref)
		if err != nil {
			return err
		}
		rec.Object, rec.Name, rec.Board, rec.Project = string(b.ID), b.Name, b.ID, b.Project
		b.PublicKey = nil
		if err := ch.clearBoard(b); err != nil {
			return err
		}
		ch.forget(boardOf(b.ID)) // it has no desired state any more
		if b.Status == s4t.BoardOnline {
			ch.kick(b, wire.KickLeft, "the board was deleted")
		}
		ch.boardEvent("board.deleted", b, "")
		ch.heard[string(b.ID)] = true
		ch.later(func() error {
			if err := ch.ForgetHolder(string(b.ID)); err != nil {
				return err
			}
			return ch.DeleteBoard(b.ID)
		})
		return nil
	})
}

// clearBoard removes the ports, services and plugins of a board, what is written to its
// pins for a time, and its place at a tunnel agent unless it is still enrolled.
func (ch *change) clearBoard(b store.Board) error {
	ports, err := ch.PortsOfBoard(b.ID)
	if err != nil {
		return err
	}
	for _, p := range ports {
		if err := ch.removePort(p); err != nil {
			return err
		}
	}
	services, err := ch.ServicesOfBoard(b.ID)
	if err != nil {
		return err
	}
	for _, s := range services {
		if err := ch.removeService(s); err != nil {
			return err
		}
	}
	plugins, err := ch.InjectionsOf(b.ID)
	if err != nil {
		return err
	}
	for _, i := range plugins {
		if err := ch.removePlugin(i); err != nil {
			return err
		}
	}
	ch.endPinWrites(b)
	ch.endRunsOf(b)
	return ch.wantStreams(b)
}

// byID finds boards by their ids.
func byID(boards []store.Board) map[s4t.BoardID]*store.Board {
	at := make(map[s4t.BoardID]*store.Board, len(boards))
	for i := range boards {
		at[boards[i].ID] = &boards[i]
	}
	return at
}
