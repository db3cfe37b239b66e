package wire

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"

	"github.com/stack4things/s4t"
)

// MaxPage is how many objects one page of a list has at the most, and has
// where nobody asks for fewer.
const MaxPage = 500

// MaxBoardPage is how many boards one page of the list of boards has at the most; [MaxPage]
// where nobody says how many.
const MaxBoardPage = 2000

// Page asks for a part of a list.
type Page struct {
	Limit int    `json:"limit,omitempty"` // 1 to MaxPage, of boards MaxBoardPage; 0 means MaxPage
	After string `json:"after,omitempty"` // List.Next of the page before; empty: from the start
}

// List is a page of a list, in the list's order.
type List[T any] struct {
	Items   []T    `json:"items"`
	Next    string `json:"next,omitempty"` // ask After it for the next page; empty: this was the last
	EventID int64  `json:"event_id"`       // id of the newest event when this was read: what changed later is told by events after it
}

// RawList is a [List] whose items are not looked at on the way: the JSON of an array. It is
// the JSON of a List on the wire too, written and read as queue.Raw by copying.
type RawList struct {
	Items   json.RawMessage `json:"items"`
	Next    string          `json:"next,omitempty"`
	EventID int64           `json:"event_id"`
}

// rawItems is what is before the items where AppendRaw wrote the list.
var rawItems = []byte(`,"items":`)

// AppendRaw appends the list as JSON, its items last.
func (l *RawList) AppendRaw(b []byte) []byte {
	next, _ := json.Marshal(l.Next) // a string: it does not fail
	items := []byte(l.Items)
	if items == nil {
		items = []byte("null")
	}
	b = slices.Grow(b, len(items)+len(next)+64)
	b = strconv.AppendInt(append(b, `{"event_id":`...), l.EventID, 10)
	b = append(append(b, `,"next":`...), next...)
	return append(append(append(b, rawItems...), items...), '}')
}

// ParseRaw reads the JSON of a list. Where AppendRaw made it, Items are a part of raw, and as
// valid as who made them: checking ten thousand boards costs as much as reading them.
func (l *RawList) ParseRaw(raw []byte) error {
	head, tail, _ := bytes.Cut(raw, rawItems)
	var rest RawList
	if n := len(tail) - 2; n > 0 && tail[0] == '[' && tail[n] == ']' && tail[n+1] == '}' && json.Unmarshal(append(slices.Clone(head), '}'), &rest) == nil && rest.Items == nil {
		*l = RawList{Items: tail[: n+1 : n+1], Next: rest.Next, EventID: rest.EventID}
		return nil
	}
	type plain RawList // without these methods
	return json.Unmarshal(raw, (*plain)(l))
}

// ListRequest asks for a page of a list that has no filter.
type ListRequest struct {
	Caller Caller `json:"caller"`
	Page   Page   `json:"page,omitzero"`
}

// News is fanned out on [TopicEvents] after a commit: there are events up to
// an id, and these operations have something new to show. It is only a
// wake-up: who was told reads what is new, and one that is lost costs a delay.
type News struct {
	Events     int64             `json:"events,omitempty"`     // id of the newest event; 0: none is new
	Operations []s4t.OperationID `json:"operations,omitempty"` // at most MaxNews
}

// MaxNews bounds the operations of one [News].
const MaxNews = 500

// MethodNews is the method on [TopicEvents]: News.
const MethodNews = "news"
