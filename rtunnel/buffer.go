package rtunnel

import "sync"

// buffer is memory lent to a Conn while bytes are in it.
type buffer struct {
	b     []byte
	class int // index in bufferSizes; -1: made for one large message, not pooled
}

// bufferSizes: the small one holds control messages and the first piece of a
// frame whose sender stalls; the largest four super-frames, for a read of a
// quarter of a megabyte is what the kernel needs to be efficient (64 KiB cost
// 30 % of throughput).
var bufferSizes = [...]int{4 << 10, 64 << 10, 320 << 10}

const topClass = len(bufferSizes) - 1

// bufferPools hold memory only, nothing that can be observed; they are shared
// by all Conns of a process so that a thousand idle ones need none.
var bufferPools [len(bufferSizes)]sync.Pool

// lend returns a buffer of a class.
func lend(class int) *buffer {
	if b, ok := bufferPools[class].Get().(*buffer); ok {
		return b
	}
	return &buffer{make([]byte, bufferSizes[class]), class}
}

// lendFor returns a buffer of at least n bytes.
func lendFor(n int) *buffer {
	for class, size := range bufferSizes {
		if n <= size {
			return lend(class)
		}
	}
	return &buffer{make([]byte, n), -1}
}

// giveBack returns a buffer; nobody may hold a slice of it any more.
func giveBack(b *buffer) {
	if b.class >= 0 {
		bufferPools[b.class].Put(b)
	}
}
