package lightningrod

import (
	"context"

	"github.com/stack4things/s4t/wire"
)

// DoctorConfig says what to examine.
type DoctorConfig struct {
	State  string // optional: default DefaultState
	Target string // optional: a join string or a URL of a cloud; default: the cloud of the identity
	Proxy  string // optional: HTTP proxy URL; default is the environment's, then the identity's
}

// Doctor says what stands between this board and the cloud, one finding a
// check, in the order in which a connection would fail.
func Doctor(ctx context.Context, cfg DoctorConfig) ([]wire.Finding, error) {
	return nil, nil
}

// doctor answers the cloud's question what stands in the way.
func (e *Engine) doctor(ctx context.Context) wire.DoctorReport {
	return wire.DoctorReport{Board: e.name()}
}
