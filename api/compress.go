package api

import (
	"compress/gzip"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/stack4things/s4t/negotiate"
)

// compressFrom is from how many bytes on an answer is worth compressing.
const compressFrom = 1400

// compressors are not in use. Each has some 800 KB.
var compressors = sync.Pool{New: func() any {
	w, _ := gzip.NewWriterLevel(io.Discard, gzip.BestSpeed) // the level is one
	return w
}}

// compressing writes an answer that is compressed where that is of use: one of JSON, of a
// request that reads, which begins with much. A stream is not: each event is to be seen at
// once. Nor is one with an ETag, which would have to be another's.
type compressing struct {
	http.ResponseWriter
	began bool         // the head is sent
	kept  bool         // a status of 200 is not
	gz    *gzip.Writer // nil: as it is
}

// compress returns what to write an answer to, and what has to be called when it is written.
func compress(w http.ResponseWriter, r *http.Request) (http.ResponseWriter, func()) {
	if r.Method != http.MethodGet || !negotiate.Gzip(r) {
		return w, func() {}
	}
	c := &compressing{ResponseWriter: w}
	return c, c.finish
}

// WriteHeader keeps the status of what may be compressed until the first bytes say so.
func (c *compressing) WriteHeader(status int) {
	if status == http.StatusOK && !c.began {
		c.kept = true
		return
	}
	c.began = true
	c.ResponseWriter.WriteHeader(status)
}

// begin sends the head.
func (c *compressing) begin(b []byte) {
	c.began = true
	h := c.Header()
	if len(b) >= compressFrom && strings.HasPrefix(h.Get("Content-Type"), "application/json") && h.Get("ETag") == "" && h.Get("Content-Encoding") == "" {
		h.Set("Content-Encoding", "gzip")
		h.Add("Vary", "Accept-Encoding")
		h.Del("Content-Length")
		c.gz = compressors.Get().(*gzip.Writer)
		c.gz.Reset(c.ResponseWriter)
	}
	if c.kept {
		c.ResponseWriter.WriteHeader(http.StatusOK)
	}
}

// Write decides at the first bytes.
func (c *compressing) Write(b []byte) (int, error) {
	if !c.began {
		c.begin(b)
	}
	if c.gz != nil {
		return c.gz.Write(b)
	}
	return c.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (c *compressing) Unwrap() http.ResponseWriter { return c.ResponseWriter }

func (c *compressing) finish() {
	if !c.began && c.kept {
		c.begin(nil)
	}
	if c.gz != nil {
		c.gz.Close() // who reads no more has gone
		c.gz.Reset(io.Discard)
		compressors.Put(c.gz)
		c.gz = nil
	}
}
