//go:build nowasi

package wasihost

import (
	"context"

	"github.com/stack4things/s4t"
)

// Version says that there is none.
const Version = "no: this lightning-rod was built without it, for its size"

// Run refuses.
func Run(context.Context, Config) (int, error) {
	return 0, s4t.Errorf(s4t.Unavailable, "run a WASI module", "use a lightning-rod that was built with it", "this lightning-rod was built without it")
}
