package apiclient

import (
	"context"
	"io"

	"github.com/stack4things/s4t"
)

// Recordings lists recordings of terminals, oldest first. It needs the role manager.
func (c *Client) Recordings(ctx context.Context) ([]s4t.Recording, error) {
	return c.RecordingList().All(ctx)
}

// RecordingList is the list behind [Client.Recordings].
func (c *Client) RecordingList() List[s4t.Recording] {
	return List[s4t.Recording]{c, "list recordings", path("recordings")}
}

// ReadRecording writes a recording to w: asciicast v2. It needs the role manager.
func (c *Client) ReadRecording(ctx context.Context, id string, w io.Writer) error {
	what := "read recording " + id
	res, err := c.open(ctx, what, "GET", path("recordings", id), nil, nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if _, err := io.Copy(w, io.LimitReader(res.Body, 2*s4t.MaxRecording)); err != nil {
		return s4t.Errorf(s4t.Unavailable, what, "try again", "it was cut: %w", err)
	}
	return nil
}

// DeleteRecording deletes a recording. A terminal that it is of ends. It needs the role manager.
func (c *Client) DeleteRecording(ctx context.Context, id string) error {
	return c.do(ctx, "delete recording "+id, "DELETE", path("recordings", id), nil, nil)
}
