package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/internal/cloudlab"
)

// dashboardLab is a cloud whose dashboard is looked at by a browser on the user's host.
type dashboardLab struct {
	*cloudlab.Cloud
	*browser
}

// newDashboardLab is a cloud that nobody has used yet, and its admin's page, "admin".
func newDashboardLab(t *testing.T, boards int) *dashboardLab {
	t.Helper()
	needBrowser(t)
	lab := newLab(t, boards)
	c := startCloud(t, lab)
	l := &dashboardLab{c, startBrowser(t, lab.User)}
	l.do(nil, "open", step{"as": "admin", "link": l.link(t)})
	return l
}

// link logs a browser in as the cloud's admin, once.
func (l *dashboardLab) link(t *testing.T) string {
	t.Helper()
	return strings.TrimSpace(runS4T(t, l.Cloud, "dashboard", "--print"))
}

// of has the steps of a subtest fail that one.
func (l *dashboardLab) of(t *testing.T) *dashboardLab {
	b := *l.browser
	b.t = t
	return &dashboardLab{l.Cloud, &b}
}

// settle gives a board simulated pins of which one may be switched, and a command of its owner.
func (l *dashboardLab) settle(t *testing.T, b *cloudlab.Board) {
	t.Helper()
	dir := filepath.Join(l.Lab.Dir, b.Name+"-owner") // it outlives the part of the test
	must(t, os.Mkdir(dir, 0o755))
	io := filepath.Join(dir, "io.toml")
	must(t, os.WriteFile(io, []byte(labelled), 0o644))
	commands := filepath.Join(dir, "commands.d")
	must(t, os.Mkdir(commands, 0o755))
	must(t, os.WriteFile(filepath.Join(commands, "hello.toml"), []byte(helloCommand), 0o644))
	b.Args = []string{"--io", filepath.Join(dir, "sim"), "--io-config", io, "--commands", commands}
}

// TestDashboard goes through the dashboard of a real cloud with real boards as people do.
func TestDashboard(t *testing.T) {
	t.Parallel()
	l := newDashboardLab(t, 3)
	part := func(name string, f func(l *dashboardLab, t *testing.T)) bool {
		return t.Run(name, func(t *testing.T) { f(l.of(t), t) })
	}
	// What others need, these make.
	if !part("the first board is enrolled from the page", (*dashboardLab).enrols) ||
		!part("a board dropped on another one bridges them", (*dashboardLab).bridges) {
		return
	}
	part("a pin is switched", (*dashboardLab).switches)
	part("a command is run", (*dashboardLab).runs)
	part("by the keyboard alone", (*dashboardLab).keyboard)
	part("terminals", (*dashboardLab).terminals)
	part("a terminal is recorded", (*dashboardLab).records)
	part("two tenants never see each other", (*dashboardLab).tenants)
	part("boards are lent", (*dashboardLab).lends)
	part("axe finds nothing", (*dashboardLab).accessible)
	part("a recording is deleted", (*dashboardLab).unrecords)
	part("an expired session loses nothing", (*dashboardLab).expires)
	part("a lost board is shown", (*dashboardLab).loses)
	part("a cloud that is away comes back", (*dashboardLab).returns)
	var trouble []string
	l.do(&trouble, "trouble", nil)
	for _, what := range trouble {
		t.Error(what)
	}
}

// enrols follows the page's instructions: what it shows is what is run.
func (l *dashboardLab) enrols(t *testing.T) {
	var line string
	l.do(&line, "addBoard", step{"as": "admin", "name": "pantry"})
	join, found := strings.CutPrefix(line, "lightning-rod join ")
	if !found {
		t.Fatalf("the page says to run %q", line)
	}
	b := l.Adopt(&cloudlab.Board{Board: l.Lab.Boards()[0], Name: "pantry", State: filepath.Join(l.Lab.Dir, "pantry")})
	l.settle(t, b)
	b.Args = append(b.Args, "--allow-terminal", "root")
	must(t, b.Join(join))
	l.do(nil, "boardCame", step{"as": "admin", "name": "pantry"})
	for _, name := range []string{"orchard", "belfry"} {
		_, err := l.AddBoard(t.Context(), name)
		must(t, err)
		l.do(nil, "boardIs", step{"as": "admin", "board": name, "status": "online"})
	}
}

// bridges drops a board on another one, and pings; then the third on the network that there is.
func (l *dashboardLab) bridges(t *testing.T) {
	var shown struct{ Boards, Steps, Lanes []string }
	l.do(&shown, "drag", step{"as": "admin", "from": "orchard", "onto": "pantry", "name": "ringmain"})
	if len(shown.Boards) != 2 || len(shown.Steps) != 10 {
		t.Errorf("the page bridged %q in the steps %q", shown.Boards, shown.Steps)
	}
	if all := strings.Join(shown.Lanes, "\n"); !strings.Contains(all, "pantry") || !strings.Contains(all, "orchard") {
		t.Errorf("the lanes are %q", shown.Lanes)
	}
	for i, name := range []string{"pantry", "orchard", "belfry"} {
		if name == "belfry" {
			l.do(nil, "drag", step{"as": "admin", "from": "belfry", "onto": "ringmain"})
		}
		var b s4t.Bridge
		s4tJSON(t, l.Cloud, &b, "bridge", "show", "ringmain")
		to := []string{"orchard", "pantry", "pantry"}[i]
		within(t, time.Minute, name+" pings "+to, func() error {
			return ping(t.Context(), l.Boards[i].Host, addressOf(t, b, to, false))
		})
	}
}

func (l *dashboardLab) switches(t *testing.T) {
	for range 2 {
		var on bool
		l.do(&on, "pin", step{"as": "admin", "board": "pantry", "pin": "lamp"})
		var pins []s4t.Pin
		s4tJSON(t, l.Cloud, &pins, "pin", "read", "pantry", "lamp")
		want := map[bool]float64{true: 1}[on]
		if len(pins) != 1 || pins[0].Value == nil || *pins[0].Value != want {
			t.Errorf("the page switched the lamp to %v, and it is %+v", on, pins)
		}
	}
}

func (l *dashboardLab) runs(t *testing.T) {
	l.do(nil, "command", step{"as": "admin", "board": "pantry", "command": "hello", "params": map[string]string{"who": "Ada"}, "want": "hello Ada"})
}

// tenants is somebody of another project, who finds nothing of the first one's: in no page, not
// by the API with the page's session, and not in the stream of events.
func (l *dashboardLab) tenants(t *testing.T) {
	runS4T(t, l.Cloud, "project", "create", "neighbours")
	l.user(t, "nadia", "neighbours", "manager")
	l.do(nil, "login", step{"as": "nadia", "url": cloudlab.URL, "user": "nadia", "password": password})
	var made s4t.Board
	var answer struct {
		Status int
		Body   json.RawMessage
	}
	l.do(nil, "listen", step{"as": "nadia", "until": "shed-of-nadia"})
	runS4T(t, l.Cloud, "board", "update", "pantry", "--label", "room=pantry")
	runS4T(t, l.Cloud, "board", "create", "cellar-of-admin")
	l.do(&answer, "ask", step{"as": "nadia", "method": "POST", "path": "boards", "body": step{"name": "shed-of-nadia"}})
	must(t, json.Unmarshal(answer.Body, &made))
	if answer.Status != 201 {
		t.Fatalf("nadia's board: %d %s", answer.Status, answer.Body)
	}
	var heard string
	l.do(&heard, "heard", step{"as": "nadia"})

	never := []string{"pantry", "orchard", "belfry", "cellar-of-admin", "hello Ada"}
	also := []string{}
	for _, b := range []string{"pantry", "orchard"} {
		var board s4t.Board
		s4tJSON(t, l.Cloud, &board, "board", "show", b)
		for _, path := range []string{"", "/services", "/commands", "/pins"} {
			for _, ref := range []string{b, string(board.ID)} {
				l.do(&answer, "ask", step{"as": "nadia", "path": "boards/" + ref + path})
				if answer.Status != 404 {
					t.Errorf("nadia's GET boards/%s%s: %d %s", ref, path, answer.Status, answer.Body)
				}
			}
		}
		never = append(never, string(board.ID))
		also = append(also, "boards/"+b, "boards/"+string(board.ID))
	}
	for _, word := range never {
		if strings.Contains(heard, word) {
			t.Errorf("nadia hears of %s: %s", word, heard)
		}
	}
	for _, list := range []string{"boards", "bridges", "networks", "services", "fleets", "plugins", "operations", "users", "tokens"} {
		l.do(&answer, "ask", step{"as": "nadia", "path": list})
		for _, word := range never {
			if answer.Status != 200 || strings.Contains(string(answer.Body), word) {
				t.Errorf("nadia's GET %s: %d %s", list, answer.Status, answer.Body)
			}
		}
	}
	var walked struct {
		Pages int
		Found []string
	}
	l.do(&walked, "walk", step{"as": "nadia", "never": never, "also": append(also, "networks/ringmain")})
	if len(walked.Found) > 0 || walked.Pages < 20 {
		t.Errorf("nadia looked at %d pages, and found %q", walked.Pages, walked.Found)
	}
	// An admin is of every project; a member of this one sees nothing of nadia's.
	l.user(t, "omar", "default", "member")
	l.do(nil, "login", step{"as": "omar", "url": cloudlab.URL, "user": "omar", "password": password})
	var text string
	l.do(&text, "text", step{"as": "omar", "path": "boards"})
	if !strings.Contains(text, "pantry") || strings.Contains(text, "shed-of-nadia") {
		t.Errorf("omar sees:\n%s", text)
	}
	l.do(nil, "close", step{"as": "omar"})
}

// accessible has axe judge every page, with what there is now in it.
func (l *dashboardLab) accessible(t *testing.T) {
	var found []string
	l.do(&found, "axe", step{"as": "admin", "shots": os.Getenv("S4T_SHOTS")})
	where := map[string][]string{} // by what it is
	for _, f := range found {
		at, what, _ := strings.Cut(f, ": ")
		where[what] = append(where[what], at)
	}
	for _, what := range slices.Sorted(maps.Keys(where)) {
		t.Errorf("%s\n\tat %s", what, strings.Join(where[what], ", "))
	}
}

// expires ends a session under a form that is being filled.
func (l *dashboardLab) expires(t *testing.T) {
	const name = "attic"
	l.do(nil, "type", step{"as": "nadia", "name": name, "labels": "floor=3"})
	var answer struct{ Status int }
	l.do(&answer, "ask", step{"as": "nadia", "method": "DELETE", "path": "session"})
	if answer.Status != 204 {
		t.Fatalf("the session's end: %d", answer.Status)
	}
	l.do(nil, "again", step{"as": "nadia", "name": name, "user": "nadia", "password": password})
	var shown struct{ Body s4t.Board }
	l.do(&shown, "ask", step{"as": "nadia", "path": "boards/" + name})
	if shown.Body.Name != name || shown.Body.Labels["floor"] != "3" {
		t.Errorf("the board is %+v", shown.Body)
	}
	l.do(nil, "close", step{"as": "nadia"})
}

// loses cuts a board off, and waits until the page says so. How soon that is to be is the
// business of `make bench-dashboard`: here the machine may be busy.
func (l *dashboardLab) loses(t *testing.T) {
	l.do(nil, "watch", step{"as": "admin", "board": "belfry", "status": "offline"})
	cut := time.Now()
	must(t, l.Boards[2].Cut())
	var at int64
	l.do(&at, "seen", step{"as": "admin"})
	t.Logf("from the cut to the pixel: %v", time.UnixMilli(at).Sub(cut).Round(10*time.Millisecond))
	must(t, l.Boards[2].Heal())
	l.do(nil, "boardIs", step{"as": "admin", "board": "belfry", "status": "online"})
}

// returns stops the cloud: the page says so, keeps what it knew, and comes back by itself.
func (l *dashboardLab) returns(t *testing.T) {
	must(t, l.Process.Stop())
	var text string
	l.do(&text, "away", step{"as": "admin"})
	if !strings.Contains(text, "pantry") {
		t.Errorf("without the cloud the page shows:\n%s", text)
	}
	must(t, l.Run())
	runS4T(t, l.Cloud, "board", "create", "late")
	l.do(nil, "back", step{"as": "admin", "board": "late"})
}

// password of the users that a test makes.
const password = "correct horse battery staple"

// user makes a user with a password.
func (l *dashboardLab) user(t *testing.T, name, project, role string) {
	t.Helper()
	cmd := l.Lab.User.Command(t.Context(), filepath.Join(bin, "s4t"), "user", "create", name, "--project", project, "--role", role, "--password-stdin")
	cmd.Env = append(os.Environ(), l.Env()...)
	cmd.Stdin = strings.NewReader(password + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatal(fmt.Errorf("s4t user create %s: %w: %s", name, err, out))
	}
}
