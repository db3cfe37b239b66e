package api

import (
	"context"
	"encoding/base64"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
	"github.com/stack4things/s4t/wire"
)

// PluginRef is the input of a route about one plugin. It is exported for huma, as
// [PageQuery] is.
type PluginRef struct {
	Plugin string `path:"plugin" maxLength:"63" doc:"Name or id"`
}

// BundleRef is the input of a route about one bundle.
type BundleRef struct {
	Digest string `path:"digest" minLength:"64" maxLength:"64" doc:"SHA-256 of the packed bundle, hex"`
}

// BoardPluginRef is the input of a route about a plugin on a board.
type BoardPluginRef struct {
	Board  string `path:"board" maxLength:"63" doc:"Name or id"`
	Plugin string `path:"plugin" maxLength:"63" doc:"Name or id of the plugin"`
}

// pluginRoutes are plugins, and what boards have of them.
func (a *API) pluginRoutes() {
	register(a, guarded, "GET /v1/bundles/{digest}", "bundle.show", "Show how much of a bundle is there", "Of those that the project has put.",
		func(ctx context.Context, in *BundleRef) (*answered[wire.BundleHas], error) {
			out, err := get[wire.BundleHas](ctx, a, wire.MethodBundlePut, wire.BundlePut{Caller: callerOf(ctx), Digest: in.Digest, Size: 1})
			if err == nil && out.Body.Has == 0 {
				return nil, problemOf(s4t.Errorf(s4t.NotFound, "show bundle "+in.Digest[:12], "put it from its beginning", "nothing of it is there"))
			}
			return out, err
		})
	register(a, guarded, "PUT /v1/bundles/{digest}", "bundle.put", "Put a part of a bundle", "A packed bundle (tar.gz) is put in parts of 524288 bytes, in order; the last may be shorter. The answer says how much is there: a part that does not follow that is not taken. After the last part all is there if the digest is right. A bundle that no version is made of is forgotten after an hour.",
		func(ctx context.Context, in *struct {
			BundleRef
			Size    int64  `query:"size" minimum:"0" maximum:"268435456" doc:"Bytes of all of it"`
			Offset  int64  `query:"offset" minimum:"0" doc:"Where this part begins"`
			RawBody []byte `contentType:"application/octet-stream"`
		}) (*answered[wire.BundleHas], error) {
			return get[wire.BundleHas](ctx, a, wire.MethodBundlePut, wire.BundlePut{Caller: callerOf(ctx), Digest: in.Digest, Size: in.Size, Offset: in.Offset, Data: in.RawBody})
		}, func(op *huma.Operation) { op.DefaultStatus = http.StatusOK })

	registerList[s4t.Plugin](a, "GET /v1/plugins", "plugin.list", "List plugins", "Without their commands.", wire.MethodPluginList)
	register(a, guarded, "POST /v1/plugins", "plugin.create", "Create a plugin, or a version of it", "Of a bundle that was put. Its plugin.toml says the version, and all else.",
		func(ctx context.Context, in *bodyOf[apiclient.PluginCreate]) (*output[s4t.Plugin], error) {
			req := wire.PluginCreate{Caller: callerOf(ctx), Name: in.Body.Name, Digest: in.Body.Digest}
			// What is no base64 is no key, and the conductor says so to who may create.
			req.Key, _ = base64.StdEncoding.DecodeString(in.Body.Key)
			req.Signature, _ = base64.StdEncoding.DecodeString(in.Body.Signature)
			return created(ctx, a, wire.MethodPluginCreate, req, func(p s4t.Plugin) string { return "/v1/plugins/" + string(p.ID) })
		})
	register(a, guarded, "GET /v1/plugins/{plugin}", "plugin.show", "Show a plugin", "With the commands of its newest version.",
		func(ctx context.Context, in *PluginRef) (*answered[s4t.Plugin], error) {
			return get[s4t.Plugin](ctx, a, wire.MethodPluginGet, wire.RefRequest{Caller: callerOf(ctx), Ref: in.Plugin})
		})
	register(a, guarded, "DELETE /v1/plugins/{plugin}", "plugin.delete", "Delete a plugin", "With all its versions. No board may have it.",
		func(ctx context.Context, in *PluginRef) (*struct{}, error) {
			return drop(ctx, a, wire.MethodPluginDelete, wire.PluginDelete{Caller: callerOf(ctx), Ref: in.Plugin})
		})
	register(a, guarded, "DELETE /v1/plugins/{plugin}/versions/{version}", "plugin.version.delete", "Delete a version of a plugin", "With the last one the plugin goes. No board may have it.",
		func(ctx context.Context, in *struct {
			PluginRef
			Version string `path:"version" maxLength:"63" doc:"Version"`
		}) (*struct{}, error) {
			return drop(ctx, a, wire.MethodPluginDelete, wire.PluginDelete{Caller: callerOf(ctx), Ref: in.Plugin, Version: in.Version})
		})

	register(a, guarded, "GET /v1/boards/{board}/plugins", "board.plugins", "List the plugins of a board", "As the board says they are now; where it is away, they are pending.",
		func(ctx context.Context, in *struct {
			Board string `path:"board" maxLength:"63" doc:"Name or id"`
		}) (*answered[[]s4t.BoardPlugin], error) {
			l, err := a.boardPlugins(ctx, in.Board, "")
			return &answered[[]s4t.BoardPlugin]{l}, err
		})
	register(a, guarded, "GET /v1/boards/{board}/plugins/{plugin}", "board.plugin", "Show a plugin of a board", "As the board says it is now.",
		func(ctx context.Context, in *BoardPluginRef) (*answered[s4t.BoardPlugin], error) {
			l, err := a.boardPlugins(ctx, in.Board, in.Plugin)
			if err != nil || len(l) == 0 {
				return nil, err
			}
			return &answered[s4t.BoardPlugin]{l[0]}, nil
		})
	register(a, guarded, "PUT /v1/boards/{board}/plugins/{plugin}", "plugin.inject", "Inject a plugin into a board", "Puts it there and runs it, or changes what is there. The operation ends when it is healthy; an offline board gets it when it comes.",
		func(ctx context.Context, in *struct {
			BoardPluginRef
			Body apiclient.PluginInject
		}) (*output[s4t.Operation], error) {
			b := in.Body
			return accepted(ctx, a, wire.MethodPluginInject, wire.PluginInject{Caller: callerOf(ctx), Board: in.Board, Plugin: in.Plugin, Version: b.Version, OnBoot: b.OnBoot, Params: b.Params})
		}, func(op *huma.Operation) { op.DefaultStatus = http.StatusAccepted })
	register(a, guarded, "POST /v1/boards/{board}/plugins/{plugin}/upgrade", "plugin.upgrade", "Bring a plugin of a board to another version", "The board keeps the old one until the new one is healthy, and goes back to it by itself: then the operation fails.",
		func(ctx context.Context, in *struct {
			BoardPluginRef
			Body apiclient.PluginInject
		}) (*output[s4t.Operation], error) {
			b := in.Body
			return accepted(ctx, a, wire.MethodPluginInject, wire.PluginInject{Caller: callerOf(ctx), Board: in.Board, Plugin: in.Plugin, Version: b.Version, Upgrade: true, OnBoot: b.OnBoot, Params: b.Params})
		}, func(op *huma.Operation) { op.DefaultStatus = http.StatusAccepted })
	for _, do := range []struct{ verb, summary string }{{wire.PluginStart, "Start a plugin of a board"}, {wire.PluginStop, "Stop a plugin of a board"}, {wire.PluginRestart, "Restart a plugin of a board"}} {
		register(a, guarded, "POST /v1/boards/{board}/plugins/{plugin}/"+do.verb, "plugin."+do.verb, do.summary, "",
			func(ctx context.Context, in *BoardPluginRef) (*output[s4t.Operation], error) {
				return accepted(ctx, a, wire.MethodPluginAct, wire.PluginAct{Caller: callerOf(ctx), Board: in.Board, Plugin: in.Plugin, Do: do.verb})
			})
	}
	register(a, guarded, "DELETE /v1/boards/{board}/plugins/{plugin}", "plugin.remove", "Remove a plugin from a board", "With all that it left there. Its tokens end.",
		func(ctx context.Context, in *BoardPluginRef) (*output[s4t.Operation], error) {
			return accepted(ctx, a, wire.MethodPluginAct, wire.PluginAct{Caller: callerOf(ctx), Board: in.Board, Plugin: in.Plugin, Do: wire.PluginRemove})
		})
	register(a, guarded, "GET /v1/boards/{board}/plugins/{plugin}/logs", "plugin.logs", "Show what a plugin wrote", "The newest lines that the board keeps, oldest first.", a.pluginLogs)
}

// boardPlugins returns the plugins of a board, or one.
func (a *API) boardPlugins(ctx context.Context, board, plugin string) ([]s4t.BoardPlugin, error) {
	l, err := call[wire.List[s4t.BoardPlugin]](ctx, a, wire.MethodPluginStatus, wire.PluginStatus{Caller: callerOf(ctx), Board: board, Plugin: plugin})
	if l.Items == nil {
		l.Items = []s4t.BoardPlugin{}
	}
	return l.Items, err
}

// logsAsk is the input of the logs of a plugin.
type logsAsk struct {
	BoardPluginRef
	Since string `query:"since" maxLength:"32" example:"1h" doc:"Lines of this long a time until now"`
	After uint64 `query:"after" doc:"Lines after the one with this number"`
	Limit int    `query:"limit" minimum:"1" maximum:"500" doc:"At most so many; 500 by default. The header Link leads to those that follow"`
}

// logLines are lines, a bare array; where there are more, the link leads to them.
type logLines struct {
	Link string `header:"Link" doc:"<URL>; rel=\"next\": the path of the lines that follow; absent where there are none"`
	Body []s4t.LogLine
}

// pluginLogs asks the board.
func (a *API) pluginLogs(ctx context.Context, in *logsAsk) (*logLines, error) {
	ask := wire.CodeAsk{Do: wire.CodeLogs, Plugin: in.Plugin, After: in.After, Limit: in.Limit}
	if ask.Limit == 0 {
		ask.Limit = apiclient.MaxLogLines
	}
	if in.Since != "" {
		d, err := duration("since", in.Since, time.Millisecond, 100*365*24*time.Hour)
		if err != nil {
			return nil, a.answer(ctx, "plugin.logs", err)
		}
		ask.Since = time.Now().Add(-d).UTC()
	}
	got, err := call[wire.CodeAnswer](ctx, a, wire.MethodBoardAsk, wire.BoardQuestion{Caller: callerOf(ctx), Board: in.Board, Ask: ask})
	if err != nil {
		return nil, err
	}
	out := &logLines{Body: got.Lines}
	if n := len(got.Lines); got.More && n > 0 {
		out.Link = `<` + apiclient.LogsPath(in.Board, in.Plugin, got.Lines[n-1].Seq, in.Limit) + `>; rel="next"`
	} else if n == 0 {
		out.Body = []s4t.LogLine{}
	}
	return out, nil
}
