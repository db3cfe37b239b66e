package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/gammazero/nexus/v3/client"
	"github.com/gammazero/nexus/v3/router"
	"github.com/gammazero/nexus/v3/wamp"

	"github.com/stack4things/s4t/bench/field"
)

const rowOriginal = "command of a plugin in Python, p50, to a WAMP call of one in the original's lightning-rod, in turn"

// What the original is told that it is.
const (
	originalBoard  = "11111111-2222-3333-4444-555555555555"
	originalPlugin = "66666666-7777-8888-9999-000000000000"
)

// settings of the original's board: settings.json, with the port of the router.
const settings = `{"iotronic": {"extra": {}, "board": {"uuid": "` + originalBoard + `", "code": "c", "name": "b1", "status": "operative", "type": "gateway",
"mobile": false, "extra": {}, "agent": "agent", "created_at": "2021-01-01", "updated_at": "2021-01-01", "location": {}},
"wamp": {"main-agent": {"url": "ws://127.0.0.1:%d/", "realm": "s4t"}}}}`

// begin runs the original in a mount and a PID namespace, where what it writes below /etc
// and /var is gone with it, and the processes that it kills by name are its own.
const begin = `set -e
mount -t tmpfs tmpfs "$1"
for d in etc var; do
	mkdir "$1/$d" "$1/$d.work"
	mount -t overlay overlay -o "lowerdir=/$d,upperdir=$1/$d,workdir=$1/$d.work" "/$d"
done
mkdir -p /etc/iotronic /var/lib/iotronic/plugins /var/log/iotronic
cp "$2/etc/iotronic/iotronic.conf" /etc/iotronic/
printf '%s' "$3" >/etc/iotronic/settings.json
cd "$2"
PYTHONPATH="$2" exec /usr/bin/python3 -c "from iotronic_lightningrod.lightningrod import main; main()"
`

// measureOriginal calls the sample plugin of the original, and ours, in turn.
func measureOriginal(ctx context.Context, o options, p *page) error {
	if o.original == "" {
		return nil
	}
	f, _, err := oneBoard(ctx, o)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := inject(ctx, f, "python", "board"); err != nil {
		return err
	}
	them, err := newOriginal(ctx, o.original, f.Dir)
	if err != nil {
		return err
	}
	defer them.close()
	var ours, theirs []float64
	for range 4 {
		took, err := calls(ctx, f, o.calls/8)
		if err != nil {
			return err
		}
		ours = append(ours, took...)
		if took, err = them.calls(ctx, o.calls/8); err != nil {
			return err
		}
		theirs = append(theirs, took...)
	}
	a, b := field.Quantile(ours, 0.5), field.Quantile(theirs, 0.5)
	p.add(rowOriginal, "<= 0.33", verdict(a <= 0.33*b), "%.2f (%.2f ms to %.2f ms; p99 %.1f to %.1f)", a/b, a, b, field.Quantile(ours, 0.99), field.Quantile(theirs, 0.99))
	return nil
}

// original is the original's lightning-rod, and a router with a caller in it.
type original struct {
	router router.Router
	server *http.Server
	caller *client.Client
	rod    *exec.Cmd
	prefix string // of its procedures
}

// newOriginal starts it from its sources, and injects its sample plugin.
func newOriginal(ctx context.Context, sources, dir string) (o *original, err error) {
	o = &original{}
	defer func() {
		if err != nil {
			o.close()
		}
	}()
	if o.router, err = router.NewRouter(&router.Config{RealmConfigs: []*router.RealmConfig{{URI: "s4t", AnonymousAuth: true}}}, quietLog{}); err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	o.server = &http.Server{Handler: router.NewWebsocketServer(o.router)}
	go o.server.Serve(l)
	if o.caller, err = client.ConnectLocal(o.router, client.Config{Realm: "s4t", Logger: quietLog{}, ResponseTimeout: 10 * time.Second}); err != nil {
		return nil, err
	}
	session := make(chan string, 1)
	for name, said := range map[string]func(*wamp.Invocation){
		"connection": func(i *wamp.Invocation) {
			select {
			case session <- fmt.Sprint(i.ArgumentsKw["session"]):
			default:
			}
		},
		"wamp_alive": func(*wamp.Invocation) {},
	} {
		if err := o.caller.Register("agent.stack4things."+name, func(_ context.Context, i *wamp.Invocation) client.InvokeResult {
			said(i)
			return client.InvokeResult{Args: wamp.List{`{"message": "", "result": "SUCCESS"}`}}
		}, nil); err != nil {
			return nil, err
		}
	}
	code, err := o.start(ctx, sources, dir, l.Addr().(*net.TCPAddr).Port)
	if err != nil {
		return nil, err
	}
	select {
	case id := <-session:
		o.prefix = "iotronic." + id + "." + originalBoard + "."
	case <-time.After(30 * time.Second):
		log, _ := os.ReadFile(filepath.Join(dir, "original.log"))
		return nil, fmt.Errorf("the original does not come: %s", log)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	plugin := wamp.Dict{"uuid": originalPlugin, "name": "echo", "code": code, "callable": true}
	for due := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) { // it registers one procedure after the other
		if _, err = o.call(ctx, "PluginInject", plugin, false); err == nil || time.Now().After(due) {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	_, err = o.calls(ctx, warm)
	return o, err
}

// start starts it, from a copy of its sources with what setup.py would say of it, and
// returns the sample plugin as its cloud would send it.
func (o *original) start(ctx context.Context, sources, dir string, port int) (code string, err error) {
	copied, scratch, info := filepath.Join(dir, "original"), filepath.Join(dir, "scratch"), "iotronic_lightningrod.egg-info"
	if err := errors.Join(os.CopyFS(copied, os.DirFS(sources)), os.Mkdir(scratch, 0o755), os.MkdirAll(filepath.Join(copied, info), 0o755)); err != nil {
		return "", err
	}
	setup, err := os.ReadFile(filepath.Join(copied, "setup.cfg"))
	if err != nil {
		return "", err
	}
	_, modules, _ := strings.Cut(string(setup), "s4t.modules =\n")
	modules, _, _ = strings.Cut(modules, "\n\n")
	if err := errors.Join(
		os.WriteFile(filepath.Join(copied, info, "PKG-INFO"), []byte("Metadata-Version: 1.0\nName: iotronic-lightningrod\nVersion: 0.5.0\n"), 0o644),
		os.WriteFile(filepath.Join(copied, info, "entry_points.txt"), []byte("[s4t.modules]\n"+strings.ReplaceAll(modules, "   ", "")+"\n"), 0o644)); err != nil {
		return "", err
	}
	pickled, err := exec.CommandContext(ctx, "/usr/bin/python3", "-c", "import pickle,sys; sys.stdout.write(pickle.dumps(open(sys.argv[1]).read(), 0).decode())",
		filepath.Join(copied, "iotronic_lightningrod/modules/plugins/plugins_examples/generics/echo.py")).Output()
	if err != nil {
		return "", fmt.Errorf("pickle the sample plugin: %w", err)
	}
	log, err := os.Create(filepath.Join(dir, "original.log"))
	if err != nil {
		return "", err
	}
	defer log.Close()
	o.rod = exec.Command("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", begin, "sh", scratch, copied, fmt.Sprintf(settings, port))
	o.rod.Stdout, o.rod.Stderr = log, log
	o.rod.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return string(pickled), o.rod.Start()
}

// call calls a procedure of it.
func (o *original) call(ctx context.Context, procedure string, args ...any) (string, error) {
	request := wamp.Dict{"uuid": originalBoard, "main_request_uuid": nil}
	r, err := o.caller.Call(ctx, o.prefix+procedure, nil, append(wamp.List{request}, args...), nil, nil)
	if err != nil {
		return "", err
	}
	if len(r.Arguments) == 0 {
		return "", fmt.Errorf("%s of the original answers nothing", procedure)
	}
	text, _ := wamp.AsString(r.Arguments[0])
	if !strings.Contains(text, `"SUCCESS"`) {
		return "", fmt.Errorf("%s of the original: %s", procedure, text)
	}
	return text, nil
}

// calls calls its sample plugin n times and returns how long each took, in ms. It refuses
// a call while the thread of the one before is still ending: that is tried again, and not counted.
func (o *original) calls(ctx context.Context, n int) (took []float64, err error) {
	for len(took) < n {
		at := time.Now()
		text, err := o.call(ctx, "PluginCall", originalPlugin, wamp.Dict{"name": "Ada"})
		switch {
		case err != nil && strings.Contains(err.Error(), "already started"):
		case err != nil:
			return nil, err
		case !strings.Contains(text, "ECHO RESULT: Ada"):
			return nil, fmt.Errorf("the original's plugin answers %s", text)
		default:
			took = append(took, ms(at))
		}
	}
	return took, nil
}

func (o *original) close() {
	if o.rod != nil && o.rod.Process != nil {
		o.rod.Process.Kill() // unshare, and with it the init of its namespace
		o.rod.Wait()
	}
	if o.caller != nil {
		o.caller.Close()
	}
	if o.server != nil {
		o.server.Close()
	}
	if o.router != nil {
		o.router.Close()
	}
}

// quietLog drops what the router says of itself.
type quietLog struct{}

func (quietLog) Print(...any)          {}
func (quietLog) Println(...any)        {}
func (quietLog) Printf(string, ...any) {}
