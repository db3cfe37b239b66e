package dashboard

import (
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"html"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/negotiate"
)

//go:embed all:dist
var dist embed.FS

// Config of the pages. URL is required.
type Config struct {
	URL string // of the cloud, as browsers know it; its path is where a proxy has put it
	// Connect lists origins besides the pages' own that they open WebSockets to: tunnel agents
	// with addresses of their own. It must not block. Optional.
	Connect func() []string
}

// pages are the files, by path below the cloud's URL. What the HTML asks for is below a/ and a name
// of what the bundle was built from: browsers keep it, and never ask for it again.
type pages struct {
	files   map[string]*file
	connect func() []string
}

// file is one of the bundle, as it is served. What is in it is read each time: it is in the program.
type file struct {
	kind    string // media type
	tag     string // what its content is known by
	path    string // within dist
	packed  bool   // what is there is compressed
	text    string // of a page, instead of what is there
	relaxed bool   // it may style itself by scripts, see policy
	forever bool   // its path names its content
}

// open returns what is in a file, with its length in bytes, -1 where that is not known: of what was
// compressed and is to be plain. zipped: it is compressed.
func (f *file) open(zip bool) (body io.ReadCloser, length int, zipped bool, err error) {
	if f.text != "" {
		return io.NopCloser(strings.NewReader(f.text)), len(f.text), false, nil
	}
	in, err := dist.Open(f.path)
	if err != nil {
		return nil, 0, false, err
	}
	if f.packed && !zip {
		body, err = gzip.NewReader(in)
		return body, -1, false, err
	}
	info, err := in.Stat()
	if err != nil {
		return nil, 0, false, err
	}
	return in, int(info.Size()), f.packed, nil
}

// kinds are the media types of a bundle's files.
var kinds = map[string]string{
	".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8",
	".svg": "image/svg+xml", ".png": "image/png", ".json": "application/json", ".wasm": "application/wasm", ".txt": "text/plain; charset=utf-8",
}

// front is the page that every view begins with, and terminal the one that is shown within
// it: xterm writes styles of its own, which the others may not.
const (
	front    = "index.html"
	terminal = "term.html"
)

// New looks what is in the bundle and returns the handler of everything that nobody else serves.
func New(c Config) (http.Handler, error) {
	const op = "serve the dashboard"
	u, err := url.Parse(c.URL)
	if err != nil {
		return nil, s4t.Errorf(s4t.Invalid, op, "use https://NAME:PORT", "%q is not the URL of a cloud", c.URL)
	}
	base := strings.TrimSuffix(u.EscapedPath(), "/") + "/"
	p := &pages{files: map[string]*file{}, connect: c.Connect}
	if p.connect == nil {
		p.connect = func() []string { return nil }
	}
	source, err := dist.ReadFile("dist/SOURCE")
	if err != nil || len(source) < 12 {
		return nil, s4t.Errorf(s4t.Internal, op, "run `make dashboard`, then build again", "the program was built without its bundle")
	}
	code := "a/" + string(source[:12]) + "/"
	asked := strings.NewReplacer(`<base href="/">`, `<base href="`+html.EscapeString(base)+`">`, `="./a/`, `="./`+code, `="theme.js"`, `="./`+code+`theme.js"`)
	err = fs.WalkDir(dist, "dist", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		below, packed := strings.CutSuffix(strings.TrimPrefix(name, "dist/"), ".gz")
		f := &file{kind: kinds[path.Ext(below)], tag: string(source[:12]), path: name, packed: packed, relaxed: below == terminal}
		if f.kind == "" {
			f.kind = "application/octet-stream"
		}
		p.files[below] = f
		if path.Ext(below) == ".html" {
			text, err := dist.ReadFile(name)
			f.text = asked.Replace(string(text))
			sum := sha256.Sum256([]byte(f.text)) // it depends on the URL, too
			f.tag = hex.EncodeToString(sum[:6])
			return err
		}
		fixed := *f
		fixed.forever = true
		p.files[code+strings.TrimPrefix(below, "a/")] = &fixed
		return nil
	})
	if err != nil {
		return nil, s4t.Errorf(s4t.Internal, op, "", "%w", err)
	}
	return p, nil
}

// ServeHTTP serves a file, or the front page: which view of it, its script reads in the URL.
func (p *pages) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "the dashboard is read only; the API is below /v1", http.StatusMethodNotAllowed)
		return
	}
	name := strings.TrimPrefix(path.Clean(r.URL.Path), "/")
	f := p.files[name]
	if f == nil {
		if strings.HasPrefix(name, "a/") { // code that another version had
			w.Header().Set("Cache-Control", "no-store")
			http.NotFound(w, r)
			return
		}
		f = p.files[front]
	}
	h := w.Header()
	h.Set("Content-Type", f.kind)
	h.Set("Cache-Control", "no-cache") // ask each time, and mostly hear 304
	if f.forever {
		h.Set("Cache-Control", "public, max-age=31536000, immutable") // RFC 8246
	}
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Content-Security-Policy", p.policy(f.relaxed))
	h.Set("Vary", "Accept-Encoding")
	body, length, zipped, err := f.open(negotiate.Gzip(r))
	if err != nil {
		http.Error(w, "the program's own "+f.path+" cannot be read: "+err.Error(), http.StatusInternalServerError)
		return
	}
	defer body.Close()
	tag := `"` + f.tag + `"`
	if zipped {
		tag = `"` + f.tag + `-gz"`
		h.Set("Content-Encoding", "gzip")
	}
	h.Set("ETag", tag)
	if matches(r.Header.Get("If-None-Match"), tag) {
		h.Del("Content-Encoding")
		w.WriteHeader(http.StatusNotModified)
		return
	}
	if length >= 0 {
		h.Set("Content-Length", strconv.Itoa(length))
	}
	if r.Method == http.MethodGet {
		io.Copy(w, body)
	}
}

// policy is what a page may load and do (CSP level 3). Scripts are files of the bundle, and
// none is written into a page: what a board or another user says is text. Styles of elements
// are set by the widgets; only the terminal makes sheets of its own, in a page of its own.
func (p *pages) policy(relaxed bool) string {
	style := "style-src 'self'; style-src-attr 'unsafe-inline'"
	ancestors := "frame-ancestors 'none'"
	if relaxed {
		style, ancestors = "style-src 'self' 'unsafe-inline'", "frame-ancestors 'self'"
	}
	return "default-src 'none'; script-src 'self'; " + style + "; img-src 'self' data:; frame-src 'self'; connect-src " + strings.Join(append([]string{"'self'"}, p.connect()...), " ") +
		"; base-uri 'self'; form-action 'self'; " + ancestors + "; require-trusted-types-for 'script'; trusted-types svelte-trusted-html"
}

// matches reports whether a tag is in the list of an If-None-Match.
func matches(list, tag string) bool {
	for one := range strings.SplitSeq(list, ",") {
		if one = strings.TrimPrefix(strings.TrimSpace(one), "W/"); one == tag || one == "*" {
			return true
		}
	}
	return false
}
