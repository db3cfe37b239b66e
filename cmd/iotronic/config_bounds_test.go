package main

import (
	"strings"
	"testing"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/internal/tomlfile"
)

func TestAConfigurationIsBounded(t *testing.T) {
	for name, text := range map[string]string{
		"arrays in arrays":   "data=" + strings.Repeat("[", tomlfile.MaxFile-10),
		"tables in tables":   "data=" + strings.Repeat("{a=", tomlfile.MaxFile/3-10),
		"a key of many dots": "a" + strings.Repeat(".b", tomlfile.MaxFile/2-10) + "=1",
		"too long":           strings.Repeat("#", tomlfile.MaxFile+1),
	} {
		t.Run(name, func(t *testing.T) {
			var cfg config
			if err := parseConfig("read the configuration", []byte(text), &cfg); s4t.KindOf(err) != s4t.Invalid || len(err.Error()) > 2000 {
				t.Errorf("error %.200v", err)
			}
		})
	}
}
