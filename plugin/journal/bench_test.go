package journal

import (
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stack4things/s4t"
)

// Commands a second through the journal: each begins on the disk, ends, and is heard
// of. `make bench-journal` runs them; the target is 200 on flash.

// flashSync is what fdatasync(2) of a few KB takes on an SD card or raw flash.
const flashSync = 5 * time.Millisecond

func BenchmarkFlashOneByOne(b *testing.B)        { benchmark(b, 1, slowSync) }
func BenchmarkFlash16AtATime(b *testing.B)       { benchmark(b, 16, slowSync) }
func BenchmarkFlash64AtATime(b *testing.B)       { benchmark(b, 64, slowSync) }
func BenchmarkThisDiskOneByOne(b *testing.B)     { benchmark(b, 1, fdatasync) }
func BenchmarkThisDisk16AtATime(b *testing.B)    { benchmark(b, 16, fdatasync) }
func BenchmarkWithoutDisk16AtATime(b *testing.B) { benchmark(b, 16, noSync) }

func slowSync(*os.File) error { time.Sleep(flashSync); return nil }

func benchmark(b *testing.B, atATime int, sync func(*os.File) error) {
	var syncs, next atomic.Int64
	j := Open(Config{Path: newFile(b), Sync: func(f *os.File) error { syncs.Add(1); return sync(f) }})
	defer j.Close()
	b.SetParallelism((atATime + 1) / 2) // of two processors, as make bench has them
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			n := int(next.Add(1))
			if _, fresh, err := j.Begin(run(n), true); err != nil || !fresh {
				b.Fatal(fresh, err)
			}
			succeed(j, n, `{"celsius":21.5,"humidity":40}`)
			if n%100 == 0 {
				var heard []s4t.OperationID
				for _, st := range j.Unheard(100) {
					heard = append(heard, st.ID)
				}
				j.Heard(heard...)
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commands/s")
	b.ReportMetric(float64(syncs.Load())/float64(b.N), "syncs/command")
}
