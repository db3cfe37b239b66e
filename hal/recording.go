package hal

import (
	"bytes"
	"encoding/csv"
	"errors"
	"io"
	"math"
	"sort"
	"strconv"
	"time"

	"github.com/stack4things/s4t"
)

// Bounds of a recording.
const (
	maxRecording = 4 << 20 // bytes
	maxRecords   = 100_000
)

// record is a value from a time on.
type record struct {
	at    time.Duration
	value float64
}

// readRecording reads a file of columns time (in seconds, from the begin) and value.
func readRecording(file string) ([]record, error) {
	const hint = "write lines of a time in seconds and a value, as 0.5,21.3"
	op := "read the recording " + file
	text, err := readBounded(file, maxRecording)
	if err != nil {
		return nil, s4t.Errorf(s4t.Invalid, op, "name a file that can be read", "%w", err)
	}
	list, err := parseRecording(text)
	if err != nil {
		return nil, s4t.Errorf(s4t.Invalid, op, hint, "%w", err)
	}
	return list, nil
}

// parseRecording reads the text of one. A first line that has no numbers names the columns.
func parseRecording(text []byte) ([]record, error) {
	r := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(text, []byte("\ufeff")))) // a byte order mark, as spreadsheets write it
	r.FieldsPerRecord, r.ReuseRecord, r.TrimLeadingSpace = 2, true, true
	var list []record
	for line := 1; ; line++ {
		row, err := r.Read()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		at, err1 := strconv.ParseFloat(row[0], 64)
		v, err2 := strconv.ParseFloat(row[1], 64)
		if line == 1 && err1 != nil && err2 != nil {
			continue
		}
		switch {
		case err1 != nil || err2 != nil || math.IsNaN(v) || math.IsInf(v, 0):
			return nil, errors.New("line " + itoa(line) + " has no two numbers")
		case !(at >= 0 && at < 1e6) || len(list) > 0 && seconds(at) < list[len(list)-1].at:
			return nil, errors.New("line " + itoa(line) + " has a time before the one above it, or above 1,000,000")
		case len(list) == maxRecords:
			return nil, errors.New("it has more than 100,000 lines")
		}
		list = append(list, record{seconds(at), v})
	}
	if len(list) == 0 {
		return nil, errors.New("it has no value")
	}
	return list, nil
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// valueAt is the newest value at a time.
func valueAt(list []record, at time.Duration) float64 {
	i := sort.Search(len(list), func(i int) bool { return list[i].at > at })
	return list[max(i-1, 0)].value
}
