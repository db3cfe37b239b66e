package s4t_test

import (
	"encoding/base64"
	"fmt"
	"hash/crc32"
	"reflect"
	"testing"

	"github.com/stack4things/s4t"
)

// FuzzParseJoin: what is accepted is within its bounds and reads the same
// again. The input is tried as it comes, and as the content of a join string
// whose sum is right.
func FuzzParseJoin(f *testing.F) {
	good := s4t.JoinString{URLs: []string{"https://cloud.example:8812"}, Code: "code", Name: "kitchen", Fingerprint: fmt.Sprintf("%064x", 7)}
	f.Add(good.String())
	f.Add(`{"u":["https://a","http://[::1]:1"],"c":"x"}`)
	f.Add(`{"u":["javascript:x"],"c":"x"}`)
	f.Add(`{"u":["https://a"],"c":"x","n":"-rf"}`)
	f.Add("s4t1.x.00000000")
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		body := base64.RawURLEncoding.EncodeToString([]byte(s))
		for _, text := range []string{s, fmt.Sprintf("s4t1.%s.%08x", body, crc32.ChecksumIEEE([]byte(body)))} {
			j, err := s4t.ParseJoin(text)
			if err != nil {
				if s4t.KindOf(err) != s4t.Invalid {
					t.Errorf("%q: %v", text, err)
				}
				continue
			}
			if len(j.URLs) == 0 || len(j.URLs) > 8 || j.Code == "" || len(j.Code) > 128 {
				t.Errorf("%q is %+v", text, j)
			}
			if again, err := s4t.ParseJoin(j.String()); err == nil && !reflect.DeepEqual(again, j) {
				t.Errorf("%+v reads as %+v", j, again)
			}
		}
	})
}
