package dial_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// systems is a CA that the system's roots of this test process have.
var systems authority

func TestMain(m *testing.M) {
	systems = newAuthority(new(testing.B), "system")
	f, err := os.CreateTemp("", "roots")
	if err == nil {
		_, err = f.Write(systems.pem)
	}
	if err != nil {
		panic(err)
	}
	f.Close()
	os.Setenv("SSL_CERT_FILE", f.Name()) // read once, when roots are first needed
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		os.Remove(f.Name())
		os.Exit(code)
	}))
}
