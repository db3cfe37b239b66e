package journal

import (
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stack4things/s4t"
)

// Commands a second through the journal: each begins on the disk, ends, and is heard
// of. `make bench-journal` runs them; the target is 200 on flash.

// flashSync is what fdatasync(2) of a few KB takes on an SD card or raw flash.
const flashSync = 5 * time.Millisecond

func BenchmarkFlashOneByOne(b *testing.B)       { benchmark(b, 1, slowSync) }
func BenchmarkFlash16AtATime(b *testing.B)      { benchmark(b, 16, slowSync) }
func BenchmarkThisDiskOneByOne(b *testing.B)    { benchmark(b, 1, fdatasync) }
func BenchmarkThisDisk16AtATime(b *testing.B)   { benchmark(b, 16, fdatasync) }
func BenchmarkWithoutDiskOneByOne(b *testing.B) { benchmark(b, 1, noSync) }

func slowSync(*os.File) error { time.Sleep(flashSync); return nil }

func benchmark(b *testing.B, atATime int, toDisk func(*os.File) error) {
	var syncs, next atomic.Int64
	j := Open(Config{Path: newFile(b), Sync: func(f *os.File) error { syncs.Add(1); return toDisk(f) }})
	defer j.Close()
	var all sync.WaitGroup
	b.ResetTimer()
	for range atATime {
		all.Go(func() {
			for n := int(next.Add(1)); n <= b.N; n = int(next.Add(1)) {
				if _, fresh, err := j.Begin(run(n), true); err != nil || !fresh {
					b.Error(fresh, err)
					return
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
	}
	all.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commands/s")
	b.ReportMetric(float64(syncs.Load())/float64(b.N), "syncs/command")
}
