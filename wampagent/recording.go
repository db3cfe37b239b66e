package wampagent

import (
	"context"

	"golang.org/x/time/rate"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wamp/router"
	"github.com/stack4things/s4t/wire"
)

// Parts of recordings, of one session: each of its shells sends one a second, or 32 KB at a time.
const (
	recordingRate  = rate.Limit(40) // a second; more wait
	recordingBurst = 80
)

// takeRecording carries what a shell of a board wrote to the conductor. Of one shell the parts
// come one after the other, each when the one before is answered; a board has few. The errors are
// about the recording: none says that the session is over.
func (a *Agent) takeRecording(ctx context.Context, op string, from router.Session, now session, epoch int64, arg string) (string, error) {
	var req wire.RecordingPart
	if err := decode(op, arg, &req); err != nil {
		return "", err
	}
	if len(req.Data) > s4t.MaxRecordingPart {
		return "", s4t.Errorf(s4t.Invalid, op, "", "a part has %d bytes, at most %d are possible", len(req.Data), s4t.MaxRecordingPart)
	}
	if err := now.recordings().Wait(ctx); err != nil {
		return "", s4t.Errorf(s4t.Unavailable, op, "", "the WAMP agent stops")
	}
	req.Board, req.Epoch = from.Board, epoch
	var reply wire.Empty
	err := a.conduct(ctx, callTimeout, wire.MethodBoardRecording, req, &reply)
	return encode(reply, err)
}
