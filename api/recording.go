package api

import (
	"context"
	"io"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// castType is the media type of asciicast v2.
const castType = "application/x-asciicast"

// recordingRef is the input of a route about one recording.
type recordingRef struct {
	Recording string `path:"recording" maxLength:"63" doc:"Id"`
}

// recordingRoutes are recordings of terminals.
func (a *API) recordingRoutes() {
	register(a, guarded, "GET /v1/recordings", "recording.list", "List recordings of terminals", "Oldest first. Needs the role manager.",
		func(ctx context.Context, in *PageQuery) (*listed[s4t.Recording], error) {
			return list[s4t.Recording](ctx, a, in, wire.MethodRecordingList, wire.ListRequest{Caller: callerOf(ctx), Page: in.page()})
		})
	register(a, guarded, "GET /v1/recordings/{recording}", "recording.show", "Read a recording of a terminal", "What the shell wrote until now, as asciicast v2. It is in the audit. Needs the role manager.",
		a.readRecording, func(op *huma.Operation) {
			op.Responses = map[string]*huma.Response{"200": {Description: "The recording", Content: map[string]*huma.MediaType{castType: {Schema: &huma.Schema{Type: huma.TypeString}}}}}
		})
	register(a, guarded, "DELETE /v1/recordings/{recording}", "recording.delete", "Delete a recording of a terminal", "A terminal that it is of ends. It is in the audit. Needs the role manager.",
		func(ctx context.Context, in *recordingRef) (*nothing, error) {
			return drop(ctx, a, wire.MethodRecordingDelete, wire.RefRequest{Caller: callerOf(ctx), Ref: in.Recording})
		})
}

// readRecording sends a recording, part by part. One that is deleted meanwhile is cut.
func (a *API) readRecording(ctx context.Context, in *recordingRef) (*huma.StreamResponse, error) {
	req := wire.RecordingRead{Caller: callerOf(ctx), ID: in.Recording}
	text, err := call[wire.RecordingText](ctx, a, wire.MethodRecordingRead, req)
	if err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(hctx huma.Context) {
		hctx.SetHeader("Content-Type", castType)
		hctx.SetHeader("Content-Disposition", `attachment; filename="`+s4t.Line(in.Recording, s4t.MaxName)+`.cast"`)
		ctx := context.WithValue(hctx.Context(), callerKey{}, req.Caller)
		for {
			if _, err := io.WriteString(hctx.BodyWriter(), text.Data); err != nil || text.Next == 0 {
				return
			}
			req.Offset = text.Next
			if text, err = call[wire.RecordingText](ctx, a, wire.MethodRecordingRead, req); err != nil {
				a.log.Warn("a recording is sent no further", "recording", in.Recording, "at", req.Offset, "err", err)
				panic(http.ErrAbortHandler)
			}
		}
	}}, nil
}
