package wamp

import (
	"bytes"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stack4things/s4t"
)

func TestValuesAreEncodedShortest(t *testing.T) {
	tests := []struct {
		name string
		v    any
		head []byte // first bytes
		size int    // of the encoding
	}{
		{"nil", nil, []byte{0xc0}, 1},
		{"false", false, []byte{0xc2}, 1},
		{"true", true, []byte{0xc3}, 1},
		{"largest fixint", int64(127), []byte{0x7f}, 1},
		{"uint8", int64(128), []byte{0xcc, 128}, 2},
		{"uint16", int64(256), []byte{0xcd, 1, 0}, 3},
		{"uint32", int64(1 << 16), []byte{0xce, 0, 1, 0, 0}, 5},
		{"a WAMP id", int64(1 << 53), []byte{0xcf, 0, 0x20}, 9},
		{"above int64", uint64(math.MaxUint64), []byte{0xcf, 0xff}, 9},
		{"negative fixint", int64(-32), []byte{0xe0}, 1},
		{"int8", int64(-33), []byte{0xd0, 0xdf}, 2},
		{"int16", int64(-129), []byte{0xd1, 0xff, 0x7f}, 3},
		{"int32", int64(math.MinInt16 - 1), []byte{0xd2, 0xff, 0xff, 0x7f, 0xff}, 5},
		{"int64", int64(math.MinInt64), []byte{0xd3, 0x80}, 9},
		{"float", 1.5, []byte{0xcb, 0x3f, 0xf8}, 9},
		{"empty string", "", []byte{0xa0}, 1},
		{"largest fixstr", strings.Repeat("x", 31), []byte{0xbf}, 32},
		{"str8", strings.Repeat("x", 32), []byte{0xd9, 32}, 34},
		{"str16", strings.Repeat("x", 256), []byte{0xda, 1, 0}, 259},
		{"str32", strings.Repeat("x", 1<<16), []byte{0xdb, 0, 1, 0, 0}, 5 + 1<<16},
		{"bin8", []byte{1}, []byte{0xc4, 1, 1}, 3},
		{"bin16", bytes.Repeat([]byte{1}, 256), []byte{0xc5, 1, 0}, 259},
		{"bin32", bytes.Repeat([]byte{1}, 1<<16), []byte{0xc6, 0, 1, 0, 0}, 5 + 1<<16},
		{"empty list", list{}, []byte{0x90}, 1},
		{"array16", repeat(16), []byte{0xdc, 0, 16}, 3 + 16},
		{"empty dict", dict{}, []byte{0x80}, 1},
		{"dict in order", dict{"b": int64(1), "a": int64(2)}, []byte{0x82, 0xa1, 'a', 2, 0xa1, 'b', 1}, 7},
		{"map16", dictOf(16), []byte{0xde, 0, 16}, 3 + 16*3},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := Append(nil, tt.v)
			if !bytes.HasPrefix(b, tt.head) || len(b) != tt.size {
				t.Errorf("encoded as %x... (%d bytes), want %x... (%d)", b[:min(len(b), 12)], len(b), tt.head, tt.size)
			}
			got, err := Decode(Append(nil, list{tt.v}))
			if diff := cmp.Diff(list{tt.v}, got); err != nil || diff != "" {
				t.Errorf("decoded with %v, %s", err, diff)
			}
		})
	}
}

func repeat(n int) list {
	l := list{}
	for range n {
		l = append(l, nil)
	}
	return l
}

func dictOf(n int) dict {
	d := dict{}
	for i := range n {
		d[string(rune('a'+i))] = nil
	}
	return d
}

func TestBadMessagesAreRefused(t *testing.T) {
	tests := []struct {
		name string
		b    []byte
		says string
	}{
		{"nothing", nil, "cut short"},
		{"no list", []byte{1}, "not a list"},
		{"two lists", []byte{0x90, 0x90}, "something follows"},
		{"a cut list", []byte{0x92, 1}, "cut short"},
		{"a cut string", []byte{0x91, 0xa5, 'a'}, "cut short"},
		{"a string that claims 4 GB", []byte{0x91, 0xdb, 0xff, 0xff, 0xff, 0xff}, "cut short"},
		{"a list that claims 4 G values", []byte{0xdd, 0xff, 0xff, 0xff, 0xff}, "more than"},
		{"a dictionary that claims 4 G keys", []byte{0x91, 0xdf, 0xff, 0xff, 0xff, 0xff}, "more than"},
		{"binary that claims 4 GB", []byte{0x91, 0xc6, 0xff, 0xff, 0xff, 0xff}, "cut short"},
		{"a cut number", []byte{0x91, 0xcf, 1}, "cut short"},
		{"a key that is a number", []byte{0x91, 0x81, 1, 1}, "not a string"},
		{"a key twice", []byte{0x91, 0x82, 0xa1, 'a', 1, 0xa1, 'a', 1}, "twice"},
		{"an extension", []byte{0x91, 0xd4, 1, 1}, "not WAMP"},
		{"the unused format", []byte{0x91, 0xc1}, "not WAMP"},
		{"nesting without end", bytes.Repeat([]byte{0x91}, 1000), "deeper"},
		{"too many values", append([]byte{0xdd, 0, 0, 0x41, 0}, make([]byte, 0x4100)...), "more than"},
		{"too many bytes", make([]byte, s4t.MaxMessage+1), "are allowed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := Decode(tt.b); err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v, want %q", err, tt.says)
			}
		})
	}
}

// FuzzDecode checks that no message makes the decoder panic, and that what it
// accepts survives being encoded again.
func FuzzDecode(f *testing.F) {
	f.Add(Append(nil, list{MsgHello, "s4t", dict{"roles": dict{"caller": dict{}}}}))
	f.Add(Append(nil, list{MsgError, MsgCall, 1, dict{}, "s4t.error.offline", list{}, dict{ErrorKey: "{}"}}))
	f.Add(Append(nil, list{MsgEvent, 1, 2, dict{}, list{"x"}}))
	f.Add([]byte{0x91, 0xca, 0x7f, 0xc0, 0, 0})
	f.Add([]byte{0x92, 0xd3, 0x80, 0, 0, 0, 0, 0, 0, 0, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _ = parse(b) // must not panic
		l, err := Decode(b)
		if err != nil {
			return
		}
		once := Append(nil, l)
		again, err := Decode(once)
		if err != nil {
			t.Fatalf("%x was encoded as %x, which gives %v", b, once, err)
		}
		if twice := Append(nil, again); !bytes.Equal(once, twice) {
			t.Errorf("%x was encoded as %x, then as %x", b, once, twice)
		}
	})
}

func TestBoardURIs(t *testing.T) {
	const id = "3f0c2a9e-5b1d-4c57-9a61-0d6f4a4b7c11"
	tests := []struct {
		uri  string
		name string // "": is none
	}{
		{"s4t.board." + id + ".wake", "wake"},
		{"s4t.board." + id + ".cloud.desired", "cloud.desired"},
		{"s4t.board." + id + ".pin_1.x", "pin_1.x"},
		{"s4t.board." + id, ""},
		{"s4t.board." + id + ".", ""},
		{"s4t.board." + id + "..wake", ""},
		{"s4t.board." + id + ".wake.", ""},
		{"s4t.board." + id + ".Wake", ""},
		{"s4t.board." + id + ".wa ke", ""},
		{"s4t.board..wake", ""},
		{"s4t.board.kitchen.wake", ""},
		{"s4t.board." + strings.ToUpper(id) + ".wake", ""},
		{"s4t.agent." + id + ".wake", ""},
		{"s4t.board." + id + "." + strings.Repeat("a", 255), ""},
	}
	for _, tt := range tests {
		board, name, ok := ParseBoardURI(tt.uri)
		if ok != (tt.name != "") || ok && (name != tt.name || board != id || BoardURI(board, name) != tt.uri) {
			t.Errorf("ParseBoardURI(%q) = %q, %q, %v", tt.uri, board, name, ok)
		}
	}
}
