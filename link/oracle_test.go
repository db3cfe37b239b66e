//go:build linux

package link

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// oracle opens a TAP, a TUN and their plain twins in a namespace of their own.
func oracle(f testing.TB) (devices [4]*Device, close func()) {
	var err error
	ready := make(chan struct{})
	go func() {
		runtime.LockOSThread() // the thread ends with the goroutine
		defer func() { ready <- struct{}{} }()
		if err = unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return
		}
		for i := range devices {
			cfg := Config{Name: "s4t-" + string(rune('a'+i)), Layer: 2 + i%2, Plain: i >= 2}
			devices[i], err = Open(cfg)
			if err == nil {
				err = up(cfg.Name)
			}
			if err != nil {
				return
			}
		}
	}()
	<-ready
	if err != nil {
		f.Fatal(err)
	}
	return devices, func() {
		for _, d := range devices {
			d.Close()
		}
	}
}

// ask checks packet against the kernel: what passes Validate is never refused
// by it, with offloads or without.
func ask(t testing.TB, devices [4]*Device, packet []byte) (passed bool) {
	for i, d := range devices {
		p := bytes.Clone(packet)
		if Validate(p, d.Layer()) != nil {
			continue
		}
		passed = true
		var err error
		if i < 2 { // beside the fallback of Write
			_, err = d.file.Write(p)
		} else {
			err = d.Write(p)
		}
		if err != nil && !errors.Is(err, unix.ENOBUFS) && !errors.Is(err, unix.ENOMEM) {
			t.Fatalf("layer %d, %v: the kernel refuses %x: %v", d.Layer(), d.Offloads(), p, err)
		}
	}
	return passed
}

// FuzzValidateAgainstTheKernel has the kernel as its oracle; it needs root.
func FuzzValidateAgainstTheKernel(f *testing.F) {
	if os.Geteuid() != 0 {
		f.Skip("needs root for a network namespace")
	}
	devices, closeAll := oracle(f)
	f.Cleanup(closeAll)
	for _, layer := range []int{2, 3} {
		for _, tt := range shapes {
			tt.layer, tt.payload = layer, min(tt.payload, 3000)
			f.Add(tt.packet())
		}
		f.Add(builder{layer: layer, payload: 10}.packet())
	}
	f.Fuzz(func(t *testing.T, packet []byte) { ask(t, devices, packet) })
}

// TestTheKernelTakesWhatPasses does the same with packets that are nearly
// right: each has some header fields changed to values that matter.
func TestTheKernelTakesWhatPasses(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root for a network namespace")
	}
	devices, closeAll := oracle(t)
	defer closeAll()
	rng := rand.New(rand.NewPCG(1, 2))
	values := []uint16{0, 1, 2, 5, 6, 8, 13, 14, 16, 20, 34, 40, 54, 63, 64, 66, 1000, 1448, 0x7fff, 0xfffe, 0xffff}
	passed := 0
	const rounds = 30_000
	for range rounds {
		b := shapes[rng.IntN(len(shapes))].builder
		b.layer, b.payload = 2+rng.IntN(2), rng.IntN(4000)
		packet := b.packet()
		for range rng.IntN(4) {
			v := values[rng.IntN(len(values))]
			switch rng.IntN(4) {
			case 0: // offload header
				binary.LittleEndian.PutUint16(packet[2*rng.IntN(5):], v)
			case 1: // anywhere in the headers
				packet[rng.IntN(min(len(packet), 80))] = byte(v)
			case 2: // type and flags
				packet[rng.IntN(2)] = []byte{0, 1, 2, 3, 4, 5, 0x81, 0x84, 0x85}[rng.IntN(9)]
			case 3:
				packet = packet[:HeaderLen+rng.IntN(len(packet)-HeaderLen)]
			}
			if len(packet) < HeaderLen+2 {
				break
			}
		}
		if ask(t, devices, packet) {
			passed++
		}
	}
	if passed < rounds/10 {
		t.Errorf("only %d of %d packets passed: the test asks too little", passed, rounds)
	}
}
