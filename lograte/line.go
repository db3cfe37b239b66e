package lograte

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// every is how often a [Line] is written at most.
const every = time.Minute

// Line is one line of a log that strangers can cause. The first goes out at
// once; those of the minute after it are counted, and the next one says how many
// they were. The zero value is ready.
type Line struct {
	mu     sync.Mutex // guards the fields below
	next   time.Time  // when one may go out
	missed int        // since the one before
}

// Info writes the line at level info, or counts it. At level debug each one is
// written.
func (l *Line) Info(log *slog.Logger, msg string, args ...any) {
	l.log(log, slog.LevelInfo, msg, args)
}

// Warn does so at level warn.
func (l *Line) Warn(log *slog.Logger, msg string, args ...any) {
	l.log(log, slog.LevelWarn, msg, args)
}

func (l *Line) log(log *slog.Logger, level slog.Level, msg string, args []any) {
	missed, ok := l.take(time.Now())
	if !ok {
		log.Debug(msg, args...)
		return
	}
	if missed > 0 {
		args = append(slices.Clip(args), "more_since_the_last", missed)
	}
	log.Log(context.Background(), level, msg, args...)
}

// take reports whether a line may go out, and how many did not since the last.
func (l *Line) take(now time.Time) (missed int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Before(l.next) {
		l.missed++
		return 0, false
	}
	missed = l.missed
	l.next, l.missed = now.Add(every), 0
	return missed, true
}
