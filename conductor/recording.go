package conductor

import (
	"context"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

const (
	// recordingParts is how many parts of a recording one answer has.
	recordingParts = 8
	// recordingStep is after how many bytes of a recording the project's are counted again.
	recordingStep = 1 << 20
)

// record begins the recording of a terminal, where the board's project wants that; "" where it
// does not. A board that cannot record has no terminal then.
func (ch *change) record(op string, b store.Board, req wire.StreamOpen, rec *s4t.AuditRecord) (s4t.RecordingID, error) {
	p, err := ch.Project(string(b.Project))
	if err != nil || !p.RecordTerminals {
		return "", err
	}
	if !b.Info.Records {
		return "", s4t.Errorf(s4t.Forbidden, op, "update lightning-rod on the board; a manager can end recording: `s4t project update "+p.Name+" --record-terminals off`",
			"terminals of the project are recorded, and the board's lightning-rod is too old for that")
	}
	if err := ch.roomToRecord(op, p.ID); err != nil {
		return "", err
	}
	r := s4t.Recording{ID: s4t.RecordingID(s4t.NewID()), Project: p.ID, BoardID: b.ID, Board: b.Name, ShellOf: b.Info.Terminal, User: req.Caller.User, Origin: req.Origin, StartedAt: ch.now}
	rec.Detail += ", recorded as " + string(r.ID)
	return r.ID, ch.InsertRecording(r)
}

// roomToRecord forgets the oldest recordings of a project that have ended, while it has too many.
func (ch *change) roomToRecord(op string, project s4t.ProjectID) error {
	used, err := ch.RecordingBytes(project)
	if err != nil || used < s4t.MaxRecordings {
		return err
	}
	oldest, err := ch.OldestRecordings(project, batch)
	for _, r := range oldest {
		if err != nil || used < s4t.MaxRecordings {
			return err
		}
		used -= r.Bytes + s4t.RecordingOverhead
		err = ch.DeleteRecording(r.ID)
	}
	if err == nil && used >= s4t.MaxRecordings {
		err = s4t.Errorf(s4t.Conflict, op, "end some of the project's terminals, or try again", "recordings of %d bytes go on, the project may have %d", used, int64(s4t.MaxRecordings))
	}
	return err
}

// boardRecording takes more of a recording from the board that makes it. Refusals that are for
// good are NotFound, Forbidden, Invalid and Conflict: the board ends the terminal.
func (c *Conductor) boardRecording(ctx context.Context, req wire.RecordingPart) (wire.Empty, error) {
	op := fmt.Sprintf("add to recording %q", s4t.Line(string(req.ID), s4t.MaxName))
	n := int64(len(req.Data))
	whole := n >= s4t.MinRecordingPart && strings.HasSuffix(req.Data, "\n") || n == 0 && req.Ended
	if !whole || n > s4t.MaxRecordingPart || !utf8.ValidString(req.Data) || strings.ContainsRune(req.Data, 0) || req.Offset < 0 {
		return wire.Empty{}, s4t.Errorf(s4t.Invalid, op, "", "%d bytes at %d are no part of a recording: it is lines of text, of %d to %d bytes", n, req.Offset, s4t.MinRecordingPart, s4t.MaxRecordingPart)
	}
	return wire.Empty{}, c.change(ctx, func(ch *change) error {
		b, err := ch.Board(req.Board)
		if err == nil {
			err = current(op, &b, req.Epoch)
		}
		if err != nil {
			return s4t.Errorf(s4t.Unavailable, op, "try again", "the board's session is over: %w", err)
		}
		r, err := ch.LockRecording(req.ID)
		switch {
		case err != nil && s4t.KindOf(err) != s4t.NotFound:
			return err
		case err != nil || r.BoardID != req.Board:
			return s4t.Errorf(s4t.NotFound, op, "", "the board has no such recording (any more)")
		case req.Offset+n <= r.Bytes && (!req.Ended || r.EndedAt != nil):
			return nil // it is here
		case req.Offset != r.Bytes && !(req.Ended && req.Offset+n == r.Bytes):
			return s4t.Errorf(s4t.Invalid, op, "", "it has %d bytes, and the part begins at %d", r.Bytes, req.Offset)
		case r.EndedAt != nil:
			return s4t.Errorf(s4t.Conflict, op, "open the terminal again", "it has ended")
		case r.Bytes+n > s4t.MaxRecording:
			return s4t.Errorf(s4t.Conflict, op, "open the terminal again", "a recording has %d bytes at most", s4t.MaxRecording)
		}
		if (r.Bytes+n)/recordingStep > r.Bytes/recordingStep {
			if err := ch.roomToRecord(op, r.Project); err != nil {
				return err
			}
		}
		data := req.Data
		if req.Offset != r.Bytes {
			data = "" // only its end is new
		}
		if req.Ended {
			return ch.AddToRecording(r, data, &ch.now)
		}
		return ch.AddToRecording(r, data, nil)
	})
}

// recordingList returns the recordings that a manager sees, oldest first.
func (c *Conductor) recordingList(ctx context.Context, req wire.ListRequest) (wire.List[s4t.Recording], error) {
	const op = "list recordings"
	if err := allow(req.Caller, op, s4t.RoleManager); err != nil {
		return wire.List[s4t.Recording]{}, err
	}
	return list(ctx, c, req.Caller, op, req.Page, same[s4t.Recording], func(tx *store.Tx, p wire.Page) (wire.List[s4t.Recording], error) {
		return tx.Recordings(scope(req.Caller), p)
	})
}

// findRecording returns the recording that a manager names; what others have does not exist.
func findRecording(tx *store.Tx, caller wire.Caller, op, id string) (s4t.Recording, error) {
	if err := allow(caller, op, s4t.RoleManager); err != nil {
		return s4t.Recording{}, err
	}
	r, err := tx.Recording(s4t.RecordingID(id))
	if s4t.KindOf(err) == s4t.NotFound || err == nil && !caller.Sees(r.Project) {
		return r, s4t.Errorf(s4t.NotFound, op, "`s4t recording list` shows what there is", "recording %q does not exist", id)
	}
	return r, err
}

// recordingRead gives some of a recording. That its begin was read is in the audit.
func (c *Conductor) recordingRead(ctx context.Context, req wire.RecordingRead) (wire.RecordingText, error) {
	id := s4t.Line(req.ID, s4t.MaxName)
	op := fmt.Sprintf("read recording %q", id)
	if req.Offset < 0 {
		return wire.RecordingText{}, s4t.Errorf(s4t.Invalid, op, "", "no part begins at %d", req.Offset)
	}
	read := func(tx *store.Tx, r s4t.Recording) (text wire.RecordingText, err error) {
		parts, err := tx.RecordingParts(r.ID, req.Offset, recordingParts)
		text.Data = strings.Join(parts, "")
		if next := req.Offset + int64(len(text.Data)); len(parts) == recordingParts && next < r.Bytes {
			text.Next = next
		}
		return text, err
	}
	if req.Offset > 0 {
		return view(ctx, c, func(tx *store.Tx) (wire.RecordingText, error) {
			r, err := findRecording(tx, req.Caller, op, id)
			if err != nil {
				return wire.RecordingText{}, err
			}
			return read(tx, r)
		})
	}
	var text wire.RecordingText
	err := c.request(ctx, req.Caller, "recording.read", id, func(ch *change, rec *s4t.AuditRecord) error {
		r, err := ch.recordingFor(req.Caller, op, id, rec)
		if err == nil {
			text, err = read(ch.Tx, r)
		}
		return err
	})
	return text, err
}

// recordingDelete deletes a recording. A terminal that it is of ends.
func (c *Conductor) recordingDelete(ctx context.Context, req wire.RefRequest) (wire.Empty, error) {
	id := s4t.Line(req.Ref, s4t.MaxName)
	return wire.Empty{}, c.request(ctx, req.Caller, "recording.delete", id, func(ch *change, rec *s4t.AuditRecord) error {
		r, err := ch.recordingFor(req.Caller, fmt.Sprintf("delete recording %q", id), id, rec)
		if err != nil {
			return err
		}
		return ch.DeleteRecording(r.ID)
	})
}

// recordingFor finds a recording, and notes in the audit what it is of.
func (ch *change) recordingFor(caller wire.Caller, op, id string, rec *s4t.AuditRecord) (s4t.Recording, error) {
	r, err := findRecording(ch.Tx, caller, op, id)
	if err == nil {
		rec.Object, rec.Name, rec.Board, rec.Project = string(r.ID), r.Board, r.BoardID, r.Project
		rec.Detail = "terminal of " + r.User + " at " + r.StartedAt.Format("2006-01-02 15:04:05Z07:00")
	}
	return r, err
}

// forgetRecordings forgets what is old.
func (c *Conductor) forgetRecordings(ctx context.Context) error {
	return c.cfg.Store.Tx(ctx, func(tx *store.Tx) error {
		return tx.ForgetRecordings(s4t.RecordingLifetime, s4t.RecordingIdle, batch)
	})
}
