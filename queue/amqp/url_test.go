package amqp

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stack4things/s4t"
)

func TestURL(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, url     string
		shown         string // empty: it is refused
		dial, refused string
	}{
		{"everything", "amqps://u:p%40ss@mq.example.org:5671/cloud?prefix=x", "amqps://mq.example.org:5671/cloud", "amqps://u:p%40ss@mq.example.org:5671/cloud", ""},
		{"little", "amqp://localhost", "amqp://localhost/", "amqp://localhost/", ""},
		{"the default vhost", "amqp://localhost/%2F", "amqp://localhost/", "amqp://localhost/", ""},
		{"a vhost with a slash", "amqp://localhost/a%2Fb", "amqp://localhost/a%2Fb", "amqp://localhost/a%2Fb", ""},
		{"no URL", "amqp://u:hunter2@h:port/", "", "", "is not a URL"},
		{"a percent", "amqp://u:hunter2%@h/", "", "", "is not a URL"},
		{"another scheme", "https://u:hunter2@h/", "", "", "https"},
		{"no host", "amqp:///vhost", "", "", "no host"},
		{"a path", "amqp://u:hunter2@h/a/b", "", "", "path"},
		{"a bad prefix", "amqp://u:hunter2@h/?prefix=a.b", "", "", "prefix"},
		{"a strange parameter", "amqp://u:hunter2@h/?heartbeat=1", "", "", "heartbeat"},
		{"twice", "amqp://u:hunter2@h/?prefix=a&prefix=b", "", "", "twice"},
		{"a CA without TLS", "amqp://u:hunter2@h/?cacertfile=x", "", "", "amqps"},
		{"no such CA", "amqps://u:hunter2@h/?cacertfile=/does/not/exist", "", "", "no such file"},
		{"an empty CA", "amqps://u:hunter2@h/?cacertfile=" + empty, "", "", "no certificate"},
		{"half a certificate", "amqps://u:hunter2@h/?certfile=" + empty, "", "", "belong together"},
		{"a bad certificate", "amqps://u:hunter2@h/?keyfile=" + empty + "&certfile=" + empty, "", "", "certfile"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, path := range Files(tt.url) {
				if !strings.Contains(tt.url, path) {
					t.Errorf("it names %s", path)
				}
			}
			b, err := parseURL(tt.url)
			if tt.shown == "" {
				if s4t.KindOf(err) != s4t.Invalid || !strings.Contains(err.Error(), tt.refused) || strings.Contains(err.Error(), "hunter2") {
					t.Errorf("%v", err)
				}
				return
			}
			if err != nil || b.shown != tt.shown || b.dial != tt.dial {
				t.Errorf("%+v, %v", b, err)
			}
		})
	}
}
