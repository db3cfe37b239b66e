package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/internal/cloudlab"
)

// TestSecretsStayWhereTheyBelongAndDeedsAreOnRecord walks a whole workflow
// whose every secret is known, and then looks for them where they must not be:
// logs, process arguments, what the API lists. Then it looks for each deed,
// with who did it, in the audit.
func TestSecretsStayWhereTheyBelongAndDeedsAreOnRecord(t *testing.T) {
	t.Parallel()
	lab := newLab(t, 2)
	c := startCloud(t, lab)
	secrets := map[string]string{} // secret: what it is
	keep := func(what, secret string) {
		t.Helper()
		if len(secret) < 8 {
			t.Fatalf("%s is %q", what, secret)
		}
		secrets[secret] = what
	}

	admin, err := os.ReadFile(c.ContextFile())
	must(t, err)
	keep("the admin's password", find(t, `password (\S+)`, string(admin)))
	keep("the admin's token", find(t, `token = ['"](\S+)['"]`, string(admin)))
	caKey, err := os.ReadFile(filepath.Join(c.Data, "ca.key"))
	must(t, err)
	keep("the CA's key", strings.Split(string(caKey), "\n")[1])

	runS4T(t, c, "project", "create", "home")
	password := filepath.Join(lab.Dir, "password")
	must(t, os.WriteFile(password, []byte("canary-password-of-maria\n"), 0o600))
	keep("a user's password", "canary-password-of-maria")
	shell := func(args ...string) string {
		t.Helper()
		out, err := lab.User.Run(t.Context(), append([]string{"env"}, append(c.Env(), args...)...)...)
		must(t, err)
		return out
	}
	s4tBin := filepath.Join(bin, "s4t")
	shell("bash", "-c", s4tBin+" user create maria --project home --role member --password-stdin < "+password)
	contexts := filepath.Join(lab.Dir, "maria.toml")
	shell("bash", "-c", s4tBin+" --context-file "+contexts+" login "+cloudlab.URL+" --user maria --ca "+filepath.Join(c.Data, "ca.pem")+" --password-stdin < "+password)
	text, err := os.ReadFile(contexts)
	must(t, err)
	keep("the user's token", find(t, `token = ['"](\S+)['"]`, string(text)))
	maria := func(args ...string) []string { return append([]string{"--context-file", contexts}, args...) }
	var token s4t.Token
	s4tJSON(t, c, &token, maria("token", "create", "--role", "reader", "--expires", "1h")...)
	keep("a token", token.Secret)

	for i, name := range []string{"kitchen", "garden"} {
		var made s4t.Board
		s4tJSON(t, c, &made, maria("board", "create", name)...)
		j, err := s4t.ParseJoin(made.Join)
		must(t, err)
		keep("the code of "+name, j.Code)
		keep("the join string of "+name, made.Join)
		b := c.Adopt(&cloudlab.Board{Board: lab.Boards()[i], Name: name, State: filepath.Join(lab.Dir, name)})
		b.Args = []string{"--verbose"}
		must(t, b.Join(made.Join))
		must(t, b.WaitReady(0, healLimit))
		var identity struct{ Key string }
		text, err := os.ReadFile(filepath.Join(b.State, "identity.json"))
		must(t, err)
		must(t, json.Unmarshal(text, &identity))
		keep("the key of "+name, identity.Key)
	}
	ssh := sshd(t, c.Boards[0])
	runS4T(t, c, maria("bridge", "create", "lab", "--board", "kitchen", "--board", "garden")...)
	runS4T(t, c, maria("service", "expose", "kitchen", "ssh")...)
	watch := events(t, c)
	if out := runS4T(t, c, maria("ssh", "kitchen", "--user", "root", "--identity", ssh.Key, "--", "echo", "over")...); strings.TrimSpace(out) != "over" {
		t.Errorf("ssh says %q", out)
	}
	runS4T(t, c, maria("bridge", "remove", "lab", "--board", "garden")...)
	runS4T(t, c, maria("bridge", "add", "lab", "--board", "garden")...)
	runS4T(t, c, maria("board", "update", "garden", "--type", "shed")...)
	s4tFails(t, c, 6, maria("board", "create", "kitchen")...)

	// Where they must not be.
	look := func(where, text string) {
		t.Helper()
		for secret, what := range secrets {
			if strings.Contains(text, secret) {
				t.Errorf("%s is in %s", what, where)
			}
		}
		if strings.Contains(text, "eyJpZCI6") { // base64 of {"id":
			t.Errorf("a ticket is in %s", where)
		}
	}
	logs, err := filepath.Glob(filepath.Join(lab.Dir, "*.log"))
	must(t, err)
	for _, f := range logs {
		text, err := os.ReadFile(f)
		must(t, err)
		look(filepath.Base(f), string(text))
	}
	processes, err := filepath.Glob("/proc/[0-9]*/cmdline")
	must(t, err)
	for _, f := range processes {
		text, _ := os.ReadFile(f) // it may have ended
		look(f, string(text))
	}
	for _, list := range [][]string{{"board", "list"}, {"bridge", "list"}, {"service", "list"}, {"token", "list"}, {"user", "list"}, {"project", "list"},
		{"operation", "list"}, {"audit", "list"}, {"board", "show", "kitchen"}, {"network", "list"}, {"port", "list"}, {"context", "show"}} {
		for _, who := range [][]string{nil, maria()} {
			if list[0] == "user" && who != nil || list[0] == "project" && who != nil {
				continue // an admin's
			}
			if list[1] == "show" && list[0] == "board" && who == nil {
				continue // a name is of one's own project
			}
			look("s4t "+strings.Join(list, " "), runS4T(t, c, append(slices.Clone(who), append(list, "-o", "json")...)...))
		}
	}
	watch.Stop()

	// On record.
	runS4T(t, c, maria("service", "hide", "kitchen", "ssh")...)
	runS4T(t, c, maria("bridge", "delete", "lab")...)
	runS4T(t, c, maria("token", "revoke", string(token.ID))...)
	runS4T(t, c, maria("board", "delete", "garden")...)
	var all []s4t.AuditRecord
	s4tJSON(t, c, &all, "audit", "list")
	var records []string
	for _, r := range all {
		records = append(records, fmt.Sprintf("%s %s %s %s", r.User, r.Action, r.Name, r.Outcome))
	}
	for _, want := range []string{
		"admin project.create home ok", "admin user.create maria ok", "maria login", "maria token.create", "maria board.create kitchen ok",
		"board:kitchen board.join kitchen ok", "maria bridge.create lab ok", "maria service.expose", "maria stream.open", "maria bridge.remove lab ok",
		"maria bridge.add lab ok", "maria board.update garden ok", "maria board.create kitchen conflict", "maria service.hide", "maria bridge.delete lab ok",
		"maria token.revoke", "maria board.delete garden ok",
	} {
		if !slices.ContainsFunc(records, func(d string) bool { return strings.HasPrefix(d, want) }) {
			t.Errorf("not on record: %s", want)
		}
	}
	if t.Failed() {
		t.Logf("on record:\n%s", strings.Join(records, "\n"))
	}
}

// find returns the first group of an expression.
func find(t *testing.T, expression, text string) string {
	t.Helper()
	m := regexp.MustCompile(expression).FindStringSubmatch(text)
	if m == nil {
		t.Fatalf("no %s", expression)
	}
	return m[1]
}
