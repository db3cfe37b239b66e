package terminal

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// told is a frame as the table has it, which vitest reads too.
type told struct {
	Kind    string `json:"kind"`
	Columns uint16 `json:"columns"`
	Rows    uint16 `json:"rows"`
	Term    string `json:"term"`
	Data    string `json:"data"`
	Status  uint8  `json:"status"`
	Problem string `json:"problem"`
}

func tell(f Frame) told {
	return told{string(f.Kind), f.Columns, f.Rows, f.Term, hex.EncodeToString(f.Data), f.Status, f.Problem}
}

func TestFramesAreThoseOfTheTable(t *testing.T) {
	text, err := os.ReadFile("testdata/frames.json")
	if err != nil {
		t.Fatal(err)
	}
	var rows []struct {
		Name, Hex       string
		Frames          []told
		Bad, Incomplete bool
	}
	if err := json.Unmarshal(text, &rows); err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		raw, err := hex.DecodeString(strings.ReplaceAll(row.Hex, " ", ""))
		if err != nil {
			t.Fatal(row.Name, err)
		}
		for _, piece := range []int{len(raw), 1, 2} { // however it comes
			var d Decoder
			var got []told
			var sent []byte
			var failed error
			for at := 0; at < len(raw) && failed == nil; at += piece {
				failed = d.Take(raw[at:min(at+piece, len(raw))], func(f Frame) error {
					got = append(got, tell(f))
					sent = f.Append(sent)
					return nil
				})
			}
			if (failed != nil) != row.Bad {
				t.Errorf("%s: the error is %v", row.Name, failed)
			}
			if len(got) != len(row.Frames) {
				t.Errorf("%s: %d frames, not %d", row.Name, len(got), len(row.Frames))
				continue
			}
			for i := range got {
				if got[i] != row.Frames[i] {
					t.Errorf("%s: %+v, not %+v", row.Name, got[i], row.Frames[i])
				}
			}
			if !row.Bad && !row.Incomplete && !bytes.Equal(sent, raw) {
				t.Errorf("%s is sent as %x", row.Name, sent)
			}
		}
	}
}

// FuzzDecoder: whatever comes, frames keep their bounds, what is kept too, and the pieces that it
// comes in change nothing.
func FuzzDecoder(f *testing.F) {
	f.Add([]byte("o\x00\x09\x00\x50\x00\x18xterm"), 3)
	f.Add([]byte("d\x00\x02lsd\x00\x01\nx\x00\x01\x00"), 1)
	f.Add([]byte("e\x00\x06no pty"), 100)
	f.Add([]byte("s\x00\x04\xff\xff\x00\x00s\x00\x05"), 5)
	f.Fuzz(func(t *testing.T, raw []byte, piece int) {
		if piece < 1 {
			piece = 1
		}
		var whole, split []told
		var d Decoder
		werr := d.Take(raw, func(f Frame) error { whole = append(whole, tell(f)); return nil })
		var e Decoder
		var serr error
		for at := 0; at < len(raw) && serr == nil; at += piece {
			serr = e.Take(raw[at:min(at+piece, len(raw))], func(f Frame) error {
				if len(f.Data) > MaxData || len(f.Term) > MaxTerm || len(f.Problem) > MaxProblem {
					t.Fatal("a frame that is too long")
				}
				split = append(split, tell(f))
				return nil
			})
			if serr == nil && len(e.rest) >= header+MaxData {
				t.Fatal("a whole frame is kept")
			}
		}
		if (werr == nil) != (serr == nil) || len(whole) != len(split) {
			t.Fatalf("whole %v %v, in pieces %v %v", whole, werr, split, serr)
		}
		for i := range whole {
			if whole[i] != split[i] {
				t.Fatalf("%+v whole, %+v in pieces", whole[i], split[i])
			}
		}
	})
}
