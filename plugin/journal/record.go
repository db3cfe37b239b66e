package journal

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strconv"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// Records of the file: a line each, the CRC-32C of its JSON in 8 hex digits before it.
const (
	doBegin = "begin" // State, Key: the run is accepted or, in the same breath, started
	doStart = "start" // State
	doEnd   = "end"   // State; Heard
	doHeard = "heard" // IDs
)

// record is one line.
type record struct {
	Do    string            `json:"do"`
	Key   string            `json:"key,omitempty"`
	State *wire.RunState    `json:"state,omitempty"`
	Heard bool              `json:"heard,omitempty"`
	IDs   []s4t.OperationID `json:"ids,omitempty"`
}

// Bounds of the file.
const (
	maxLine  = 6*s4t.MaxCommandResult + 8<<10 // bytes: JSON escapes a byte with 6 at most
	maxFile  = 256 << 20                      // bytes that are read; what is behind is lost
	maxHeard = 1000                           // IDs of one record
	prefix   = 8 + 1                          // bytes before the JSON
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// encode appends the line of a record.
func (r record) encode(to []byte) []byte {
	text := wire.Encode(r)
	to = fmt.Appendf(to, "%08x ", crc32.Checksum(text, castagnoli))
	return append(append(to, text...), '\n')
}

// decode reads a line, without its end.
func decode(line []byte) (r record, err error) {
	if len(line) < prefix || line[prefix-1] != ' ' {
		return r, errors.New("it is no record")
	}
	sum, err := strconv.ParseUint(string(line[:prefix-1]), 16, 32)
	if err != nil || uint32(sum) != crc32.Checksum(line[prefix:], castagnoli) {
		return r, errors.New("its checksum does not match")
	}
	if err := json.Unmarshal(line[prefix:], &r); err != nil {
		return r, err
	}
	return r, r.check()
}

// check holds what the journal relies on.
func (r record) check() error {
	var ok bool
	switch st := r.State; r.Do {
	case doBegin:
		ok = st != nil && r.Key != "" && len(r.Key) <= maxKey && (st.Status == s4t.OperationAccepted || st.Status == s4t.OperationStarted)
	case doStart:
		ok = st != nil && st.Status == s4t.OperationStarted
	case doEnd:
		ok = st != nil && st.Status.Ended() && len(st.Result) <= maxLine
	case doHeard:
		ok = r.State == nil && len(r.IDs) <= maxHeard
	}
	if st := r.State; !ok || st != nil && (st.ID == "" || len(st.ID) > s4t.MaxName) {
		return errors.New("it is no record")
	}
	return nil
}

// damage is what was wrong with a file.
type damage struct {
	torn  bool // the last line has no end: it was being written
	lines int  // that are not records, or lie behind maxFile
}

// scan reads a file line by line: each record with where it is. A line that is none
// costs that line only.
func scan(from io.Reader, found func(r record, at int64, size int)) (d damage, err error) {
	in := bufio.NewReaderSize(io.LimitReader(from, maxFile), 64<<10)
	var long []byte
	at, size := int64(0), 0
	for {
		part, err := in.ReadSlice('\n')
		size += len(part)
		if len(long) <= maxLine {
			long = append(long, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err == io.EOF:
			d.torn = size > 0
			return d, nil
		case err != nil:
			return d, err
		}
		line := bytes.TrimSuffix(long, []byte("\n"))
		if r, err := decode(line); err == nil && size <= maxLine {
			found(r, at, size)
		} else {
			d.lines++
		}
		at, size, long = at+int64(size), 0, long[:0]
	}
}
