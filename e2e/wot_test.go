package e2e

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stack4things/s4t"
)

// TestAConsumerOfTheWebOfThings: node-wot reads, writes and observes pins through the
// Thing Description that the cloud serves, over TLS with the cloud's CA and a token;
// and the description is what the schema of TD 1.1 and the playground want.
func TestAConsumerOfTheWebOfThings(t *testing.T) {
	dir := os.Getenv("S4T_WOT")
	if dir == "" {
		t.Skip("S4T_WOT is not the folder of `scripts/wot`: see make test")
	}
	if _, err := os.Stat(filepath.Join(dir, "node_modules/.done")); err != nil {
		t.Skip("node-wot could not be installed: ", err)
	}
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip(err)
	}
	scripts, err := filepath.Abs("testdata/wot")
	if err != nil {
		t.Fatal(err)
	}
	l := newPinLab(t)
	commands := filepath.Join(l.dir, "commands.d")
	if err := os.Mkdir(commands, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"hello.toml": helloCommand, "odd.toml": oddCommand} {
		if err := os.WriteFile(filepath.Join(commands, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	l.board("kitchen", labelled, "--commands", commands)
	within(t, patience, "the commands of the board", func() error {
		_, err := l.s4t("command", "show", "kitchen", "odd")
		return err
	})
	l.must(filepath.Join(bin, "s4t"), "board", "update", "kitchen", "--label", "room=kitchen", "--location", "38.19,15.55")
	var made struct{ Token string }
	l.json(&made, "token", "create", "--role", "member")
	var board s4t.Board
	l.json(&board, "board", "show", "kitchen")
	ca := filepath.Join(l.dir, "cloud/ca.pem")
	get := func(path string) string {
		return l.must("curl", "--silent", "--show-error", "--fail-with-body", "--cacert", ca, "-H", "Authorization: Bearer "+made.Token, l.url+path)
	}
	node := func(args ...string) string {
		t.Helper()
		cmd := l.command(t.Context(), append([]string{"env", "-C", dir, "node"}, args...)...) // the way into the namespaces changes the folder
		cmd.Env = append(os.Environ(), "NODE_EXTRA_CA_CERTS="+ca, "TOKEN="+made.Token)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v: %s%s", err, out, stderr.String())
		}
		return string(out)
	}

	// The description, by all of its paths.
	var files []string
	for name, path := range map[string]string{"board": "/v1/boards/kitchen/td", "directory": "/v1/td?label=room%3Dkitchen&near=38.2,15.5&within=20", "thing": "/v1/td/urn:uuid:" + string(board.ID), "well-known": "/.well-known/wot"} {
		file := filepath.Join(l.dir, name+".json")
		if err := os.WriteFile(file, []byte(get(path)), 0o600); err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	if got := node(append([]string{filepath.Join(scripts, "validate.js")}, files...)...); strings.TrimSpace(got) != "valid 4" {
		t.Errorf("the validators say %s", got)
	}
	var things []struct{ ID string }
	if err := json.Unmarshal([]byte(get("/v1/td?near=0,0")), &things); err != nil || len(things) != 0 {
		t.Errorf("far from the board there is %v, %v", things, err)
	}

	// A consumer.
	out := node(filepath.Join(scripts, "consume.js"), l.url+"/v1/boards/kitchen/td", "sim/demo/sine", "sim/demo/out", "hello")
	for _, want := range []string{"type application/td+json", "read ", "wrote 1 reads 1", "observed ", "refused ", "invoked hello node-wot"} {
		if !strings.Contains(out, want) {
			t.Errorf("the consumer did not say %q:\n%s", want, out)
		}
	}
	t.Logf("node-wot:\n%s", out)
	var pins []s4t.Pin
	l.json(&pins, "pin", "read", "kitchen", "lamp")
	if len(pins) != 1 || pins[0].Value == nil || *pins[0].Value != 1 {
		t.Errorf("the lamp is %+v", pins)
	}

	// Two public generators make clients of the OpenAPI document of the board's
	// commands, and the compiler takes what they make.
	document := filepath.Join(l.dir, "openapi.json")
	if err := os.WriteFile(document, []byte(get("/v1/boards/kitchen/openapi.json")), 0o600); err != nil {
		t.Fatal(err)
	}
	types, client := filepath.Join(l.dir, "types.ts"), filepath.Join(l.dir, "client")
	node("node_modules/openapi-typescript/bin/cli.js", document, "-o", types)
	node("node_modules/swagger-typescript-api/dist/cli.mjs", "generate", "-p", document, "-o", client, "-n", "api.ts")
	node("node_modules/typescript/bin/tsc", "--noEmit", "--strict", "--target", "es2022", "--lib", "es2022,dom", "--module", "esnext", "--moduleResolution", "bundler", types, filepath.Join(client, "api.ts"))
	text, err := os.ReadFile(types)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"level: number | null;", `OddParamsColour: "red" | "it's" | "a \"b\"";`, `next?: components["schemas"]["OddParamsNode"];`, "which?: string | number | {"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the types are without %s:\n%s", want, text)
		}
	}
}

// Commands of the board's owner.
const (
	helloCommand = `argv = ["/bin/echo", "hello", "{who}"]
[params]
type = "object"
required = ["who"]
properties = { who = { type = "string" } }
[result]
type = "string"
`
	oddCommand = `argv = ["/bin/cat"]
description = "answers */ with what it gets"
stdin = "params"
output = "json"
stream = true
[params]
type = "object"
required = ["colour", "level"]
additionalProperties = false
[params."$defs".colour]
description = "one\nof some"
enum = ["red", "it's", "a \"b\""]
[params."$defs".node]
type = "object"
properties = { name = { type = "string" }, next = { "$ref" = "#/$defs/node" } }
[params.properties]
colour = { "$ref" = "#/$defs/colour" }
level = { type = ["integer", "null"], minimum = 0, exclusiveMaximum = 10 }
tree = { "$ref" = "#/$defs/node" }
mode = { const = "fast" }
which = { oneOf = [{ type = "string", pattern = "^[a-z]+$" }, { type = "integer" }, { type = "object", required = ["a"], properties = { a = { type = "number" } } }] }
any = {}
pair = { type = "array", prefixItems = [{ type = "string" }, { type = "integer" }] }
map = { type = "object", additionalProperties = { type = "number" } }
when = { type = "string", format = "date-time" }
"odd key-with.dots" = { type = "boolean", default = true }
[result]
anyOf = [{ "$ref" = "#/$defs/r" }, { type = "null" }]
[result."$defs".r]
type = "object"
`
)
