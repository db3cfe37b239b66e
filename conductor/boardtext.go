package conductor

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// boardTexts makes the JSON of boards out of texts in the database, without decoding them: a
// dashboard asks for ten thousand at a time.
type boardTexts struct {
	columns []string
	keys    []string
	info    *wire.Projection // what of info
	public  bool             // its public address too
	infos   map[string][]byte
	now     time.Time
}

// briefInfo are the fields of info that are in a board's brief.
var briefInfo = []string{"version", "os", "arch", "kernel", "networks", "resumes", "public_address"}

// newBoardTexts is nil where some field needs more than the texts.
func newBoardTexts(fields *wire.Projection, now time.Time) *boardTexts {
	t := &boardTexts{keys: fields.Keys(), info: fields.Of("info"), infos: map[string][]byte{}, now: now.Truncate(time.Microsecond)}
	for _, key := range t.keys {
		switch key {
		case "id", "name":
		case "project", "type", "labels", "problems", "status", "wamp_agent", "tunnel_agent", "created_at", "code_expires_at":
			t.columns = append(t.columns, key)
		case "last_seen":
			t.columns = append(t.columns, key)
			if !slices.Contains(t.keys, "status") {
				t.columns = append(t.columns, "status")
			}
		case "location":
			if fields.Of(key) != nil {
				return nil
			}
			t.columns = append(t.columns, key)
		case "info":
			if t.info == nil {
				return nil
			}
			for _, k := range t.info.Keys() {
				if !slices.Contains(briefInfo, k) {
					return nil
				}
			}
			t.public = t.info.Has("public_address")
			if t.columns = append(t.columns, "brief"); t.public {
				t.columns = append(t.columns, "public_address")
			}
		default:
			return nil
		}
	}
	return t
}

func (t *boardTexts) read(tx *store.Tx, req wire.BoardList) (page wire.RawList, err error) {
	rows, err := tx.BoardTexts(t.columns, scope(req.Caller), req.Status, req.Page)
	if err != nil {
		return page, err
	}
	page.Next, page.EventID = rows.Next, rows.EventID
	items := newArray(320 * len(rows.Items))
	var text []byte
	for i := range rows.Items {
		if text, err = t.append(text[:0], &rows.Items[i]); err != nil {
			return page, err
		}
		if !items.add(text) {
			page.Next = rows.Items[i-1].After()
			break
		}
	}
	page.Items = items.end()
	return page, nil
}

// append appends the JSON of a board; what would be empty is left out as in [s4t.Board].
func (t *boardTexts) append(b []byte, r *store.BoardText) ([]byte, error) {
	b = append(b, '{')
	for _, key := range t.keys {
		n := len(b)
		if n > 1 && b[n-1] != '{' {
			b = append(b, ',')
		}
		b = append(append(append(b, '"'), key...), '"', ':')
		var has bool
		var err error
		if b, has, err = t.value(b, key, r); err != nil {
			return nil, err
		}
		if !has {
			b = b[:n]
		}
	}
	return append(b, '}'), nil
}

// value appends the value of a field; has: it is not to be left out.
func (t *boardTexts) value(b []byte, key string, r *store.BoardText) (_ []byte, has bool, err error) {
	switch key {
	case "id":
		return appendText(b, string(r.ID)), true, nil
	case "name":
		return appendText(b, r.Name), true, nil
	case "project":
		return appendText(b, r.Project), true, nil
	case "status":
		return appendText(b, string(r.Status)), true, nil
	case "type":
		return appendText(b, r.Type), r.Type != "", nil
	case "wamp_agent":
		return appendText(b, r.WAMPAgent), r.WAMPAgent != "", nil
	case "tunnel_agent":
		return appendText(b, r.TunnelAgent), r.TunnelAgent != "", nil
	case "labels":
		return append(b, r.Labels...), !emptyJSON(r.Labels), nil
	case "problems":
		return append(b, r.Problems...), !emptyJSON(r.Problems), nil
	case "location":
		return append(b, r.Location...), !emptyJSON(r.Location), nil
	case "created_at":
		return appendTime(b, r.CreatedAt), true, nil
	case "code_expires_at":
		return appendTime(b, r.CodeExpiresAt), !r.CodeExpiresAt.IsZero(), nil
	case "last_seen":
		seen := r.SeenAt
		if r.Status == s4t.BoardOnline {
			seen = t.now
		}
		return appendTime(b, seen), !seen.IsZero(), nil
	}
	b, err = t.appendInfo(b, r)
	return b, true, err
}

// maxInfos bounds the texts that are kept: boards of a kind say the same.
const maxInfos = 256

func (t *boardTexts) appendInfo(b []byte, r *store.BoardText) ([]byte, error) {
	text, known := t.infos[r.Brief]
	if !known {
		var info s4t.BoardInfo
		var err error
		if r.Brief != "" {
			err = json.Unmarshal([]byte(r.Brief), &info)
		}
		if err == nil {
			text, err = t.info.Append(nil, &info)
		}
		if err != nil {
			return nil, err
		}
		if len(t.infos) == maxInfos {
			clear(t.infos)
		}
		t.infos[r.Brief] = text
	}
	b = append(b, text...)
	if t.public && r.Public != "" {
		if b = b[:len(b)-1]; len(text) > 2 {
			b = append(b, ',')
		}
		b = append(appendText(append(b, `"public_address":`...), r.Public), '}')
	}
	return b, nil
}

// emptyJSON reports whether a text is that of nothing.
func emptyJSON(s string) bool {
	return s == "" || s == "null" || s == "{}" || s == "[]"
}

// appendText appends a string as encoding/json writes it.
func appendText(b []byte, s string) []byte {
	if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' || strings.ContainsRune(`"\<>&`, r) }) {
		text, _ := json.Marshal(s) // of a string: it does not fail
		return append(b, text...)
	}
	return append(append(append(b, '"'), s...), '"')
}

func appendTime(b []byte, t time.Time) []byte {
	return append(t.AppendFormat(append(b, '"'), time.RFC3339Nano), '"')
}
