package dial

import (
	"errors"

	"github.com/stack4things/s4t"
)

// diagnosed is an error whose cause has an ID in [wire.Diagnoses].
type diagnosed struct {
	id  string
	err error // nil: the text of the s4t.Error around it says all
}

// Error implements error.
func (e *diagnosed) Error() string {
	if e.err == nil {
		return e.id
	}
	return e.err.Error()
}

// Unwrap returns the cause.
func (e *diagnosed) Unwrap() error { return e.err }

// diagnose notes in e what stood in the way.
func diagnose(id string, e *s4t.Error) *s4t.Error {
	e.Err = &diagnosed{id: id, err: e.Err}
	return e
}

// DiagnosisOf returns the ID of the [wire.Diagnosis] inside an error of a
// [Dialer], "" if it has none.
func DiagnosisOf(err error) string {
	if d, ok := errors.AsType[*diagnosed](err); ok {
		return d.id
	}
	return ""
}
