package apiclient

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/stack4things/s4t"
)

// PluginCreate is the body of POST /v1/plugins.
type PluginCreate struct {
	Name      string `json:"name" minLength:"1" maxLength:"63" doc:"Unique in the project"`
	Digest    string `json:"digest" maxLength:"64" doc:"SHA-256 of the packed bundle, hex: it was put before"`
	Key       string `json:"key" maxLength:"64" doc:"Ed25519 public key that signed it, base64"`
	Signature string `json:"signature" maxLength:"128" doc:"Of the digest, base64"`
}

// PluginInject is the body of PUT /v1/boards/{board}/plugins/{plugin} and of
// .../upgrade; what is absent stays.
type PluginInject struct {
	Version string            `json:"version,omitempty" maxLength:"63" doc:"The newest by default"`
	OnBoot  *bool             `json:"onboot,omitempty" doc:"Start it when the board starts, too"`
	Params  map[string]string `json:"params,omitempty" doc:"Parameters, which it finds in its environment; at most 64, of 16384 bytes together"`
}

// bundleHas is the answer of GET and PUT /v1/bundles/{digest}.
type bundleHas struct {
	Has      int64 `json:"has"`
	Complete bool  `json:"complete"`
}

// bundlePart is how many bytes of a bundle are put at a time.
const bundlePart = 512 << 10

// PutBundle uploads a packed bundle, as far as it is not there yet, and returns its
// digest. What was interrupted goes on where it was; a cloud that is away for a moment
// is tried again while ctx lasts. progress, which may be nil, is told how many bytes are there.
func (c *Client) PutBundle(ctx context.Context, file io.ReaderAt, size int64, progress func(has int64)) (digest string, err error) {
	const what = "upload the bundle"
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(file, 0, size)); err != nil {
		return "", s4t.Errorf(s4t.Invalid, what, "", "%w", err)
	}
	digest = hex.EncodeToString(h.Sum(nil))
	var now bundleHas
	if err := c.do(ctx, what, "GET", path("bundles", digest), nil, &now); err != nil && s4t.KindOf(err) != s4t.NotFound {
		return digest, err
	}
	buf := make([]byte, bundlePart)
	for tries := 0; !now.Complete; {
		if progress != nil {
			progress(now.Has)
		}
		n, err := file.ReadAt(buf[:min(bundlePart, size-now.Has)], now.Has)
		if err != nil && err != io.EOF {
			return digest, s4t.Errorf(s4t.Invalid, what, "", "%w", err)
		}
		was := now
		err = c.putPart(ctx, what, query(path("bundles", digest), "size", strconv.FormatInt(size, 10), "offset", strconv.FormatInt(was.Has, 10)), buf[:n], &now)
		switch kind := s4t.KindOf(err); {
		case err == nil && now.Has != was.Has:
			tries = 0
		case err == nil || kind == s4t.Unavailable || kind == s4t.TooMany || kind == s4t.Timeout:
			if tries++; tries > maxPutTries || !pause(ctx, time.Duration(tries)*200*time.Millisecond) {
				if err == nil {
					err = s4t.Errorf(s4t.Unavailable, what, "try again", "the cloud does not take it")
				}
				return digest, err
			}
			now = was
			if err := c.do(ctx, what, "GET", path("bundles", digest), nil, &now); s4t.KindOf(err) == s4t.NotFound {
				now = bundleHas{} // it was forgotten
			} else if err != nil {
				now = was // the next part says more
			}
		default:
			return digest, err
		}
	}
	if progress != nil {
		progress(size)
	}
	return digest, nil
}

// maxPutTries is how often in a row a part is tried in vain.
const maxPutTries = 10

// putPart sends one part.
func (c *Client) putPart(ctx context.Context, what, path string, part []byte, reply any) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	res, err := c.openOnce(ctx, what, "PUT", path, rawBody{part}, http.Header{"Content-Type": {"application/octet-stream"}})
	if err != nil {
		return err
	}
	defer res.Body.Close()
	return c.decode(ctx, what, res, reply)
}

// rawBody is a body that is no JSON.
type rawBody struct{ bytes []byte }

func (b rawBody) reader() io.Reader { return bytes.NewReader(b.bytes) }

// CreatePlugin makes a plugin, or a version of it, of a bundle that was put;
// signature is that of its digest.
func (c *Client) CreatePlugin(ctx context.Context, name, digest string, key ed25519.PublicKey, signature []byte) (p s4t.Plugin, err error) {
	req := PluginCreate{Name: name, Digest: digest, Key: base64.StdEncoding.EncodeToString(key), Signature: base64.StdEncoding.EncodeToString(signature)}
	return p, c.do(ctx, "create plugin "+name, "POST", path("plugins"), req, &p)
}

// PluginList is the list of plugins.
func (c *Client) PluginList() List[s4t.Plugin] {
	return List[s4t.Plugin]{c, "list plugins", path("plugins")}
}

// Plugins lists plugins.
func (c *Client) Plugins(ctx context.Context) ([]s4t.Plugin, error) { return c.PluginList().All(ctx) }

// Plugin by name or id.
func (c *Client) Plugin(ctx context.Context, ref string) (p s4t.Plugin, err error) {
	return p, c.do(ctx, "show plugin "+ref, "GET", path("plugins", ref), nil, &p)
}

// DeletePlugin deletes a plugin, or one version of it if version is not empty.
func (c *Client) DeletePlugin(ctx context.Context, ref, version string) error {
	p := path("plugins", ref)
	if version != "" {
		p = path("plugins", ref, "versions", version)
	}
	return c.do(ctx, "delete plugin "+ref, "DELETE", p, nil, nil)
}

// InjectPlugin puts a plugin on a board, or changes one that is there.
func (c *Client) InjectPlugin(ctx context.Context, board, plugin string, req PluginInject) (o s4t.Operation, err error) {
	return o, c.do(ctx, "inject plugin "+plugin+" into board "+board, "PUT", path("boards", board, "plugins", plugin), req, &o)
}

// UpgradePlugin brings a plugin of a board to another version.
func (c *Client) UpgradePlugin(ctx context.Context, board, plugin string, req PluginInject) (o s4t.Operation, err error) {
	return o, c.do(ctx, "upgrade plugin "+plugin+" of board "+board, "POST", path("boards", board, "plugins", plugin, "upgrade"), req, &o)
}

// ActPlugin starts, stops or restarts a plugin of a board: verb is one of these.
func (c *Client) ActPlugin(ctx context.Context, board, plugin, verb string) (o s4t.Operation, err error) {
	return o, c.do(ctx, verb+" plugin "+plugin+" of board "+board, "POST", path("boards", board, "plugins", plugin, verb), nil, &o)
}

// RemovePlugin takes a plugin off a board.
func (c *Client) RemovePlugin(ctx context.Context, board, plugin string) (o s4t.Operation, err error) {
	return o, c.do(ctx, "remove plugin "+plugin+" from board "+board, "DELETE", path("boards", board, "plugins", plugin), nil, &o)
}

// BoardPlugins lists the plugins of a board, as they are now.
func (c *Client) BoardPlugins(ctx context.Context, board string) (l []s4t.BoardPlugin, err error) {
	return l, c.do(ctx, "show the plugins of board "+board, "GET", path("boards", board, "plugins"), nil, &l)
}

// BoardPlugin is one of them.
func (c *Client) BoardPlugin(ctx context.Context, board, plugin string) (p s4t.BoardPlugin, err error) {
	return p, c.do(ctx, "show plugin "+plugin+" of board "+board, "GET", path("boards", board, "plugins", plugin), nil, &p)
}

// MaxLogLines is how many lines of a log come in one answer at most.
const MaxLogLines = 500

// LogsPath is the path of the lines of a plugin's log after one.
func LogsPath(board, plugin string, after uint64, limit int) string {
	some := ""
	if limit > 0 {
		some = strconv.Itoa(limit)
	}
	return query(path("boards", board, "plugins", plugin, "logs"), "after", strconv.FormatUint(after, 10), "limit", some)
}

// PluginLogs returns what a plugin of a board wrote, oldest first: of this long a
// time, or with 0 all that the board keeps.
func (c *Client) PluginLogs(ctx context.Context, board, plugin string, since time.Duration) ([]s4t.LogLine, error) {
	what := "show what plugin " + plugin + " of board " + board + " wrote"
	text := ""
	if since > 0 {
		text = since.String()
	}
	p := query(path("boards", board, "plugins", plugin, "logs"), "since", text)
	all := []s4t.LogLine{}
	for {
		var lines []s4t.LogLine
		if err := c.do(ctx, what, "GET", p, nil, &lines); err != nil {
			return all, err
		}
		all = append(all, lines...)
		if len(lines) < MaxLogLines {
			return all, nil
		}
		p = LogsPath(board, plugin, lines[len(lines)-1].Seq, 0)
	}
}
