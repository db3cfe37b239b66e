package hal

import (
	"encoding/binary"
	"io"
	"os"
	"syscall"

	"github.com/warthog618/go-gpiocdev/uapi"
	"golang.org/x/sys/unix"
)

// gpioKernel is the kernel's GPIO character devices.
type gpioKernel struct{}

func (gpioKernel) open(path string) (gpioChip, error) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	return kernelChip(fd), nil
}

// kernelChip is the descriptor of a chip.
type kernelChip int

func (c kernelChip) info() (uapi.ChipInfo, error) { return uapi.GetChipInfo(uintptr(c)) }

func (c kernelChip) line(offset int) (uapi.LineInfoV2, error) {
	return uapi.GetLineInfoV2(uintptr(c), offset)
}

func (c kernelChip) request(r *uapi.LineRequest) (gpioRequest, error) {
	if err := uapi.GetLine(uintptr(c), r); err != nil {
		return nil, err
	}
	unix.CloseOnExec(int(r.Fd))
	if err := unix.SetNonblock(int(r.Fd), true); err != nil { // so that a wait for edges holds no thread, and ends with Close
		unix.Close(int(r.Fd))
		return nil, err
	}
	f := os.NewFile(uintptr(r.Fd), "gpio line")
	conn, err := f.SyscallConn()
	if err != nil {
		f.Close()
		return nil, err
	}
	return &kernelRequest{file: f, conn: conn}, nil
}

func (c kernelChip) Close() error { return unix.Close(int(c)) }

// kernelRequest is the descriptor of a line that is ours.
type kernelRequest struct {
	file *os.File
	conn syscall.RawConn
	buf  []byte // of next
}

// do works on the descriptor.
func (r *kernelRequest) do(f func(fd uintptr) error) error {
	var err error
	if e := r.conn.Control(func(fd uintptr) { err = f(fd) }); e != nil {
		return e
	}
	return err
}

func (r *kernelRequest) value() (int, error) {
	v := uapi.LineValues{Mask: 1}
	err := r.do(func(fd uintptr) error { return uapi.GetLineValuesV2(fd, &v) })
	return v.Get(0), err
}

func (r *kernelRequest) setValue(v int) error {
	return r.do(func(fd uintptr) error {
		return uapi.SetLineValuesV2(fd, uapi.LineValues{Mask: 1, Bits: uapi.LineBitmap(v)})
	})
}

func (r *kernelRequest) config(c *uapi.LineConfig) error {
	return r.do(func(fd uintptr) error { return uapi.SetLineConfigV2(fd, c) })
}

func (r *kernelRequest) Close() error { return r.file.Close() }

// gpioEventSize is the size of struct gpio_v2_line_event.
const gpioEventSize = 48

func (r *kernelRequest) next(list []uapi.LineEvent) (int, error) {
	if r.buf == nil {
		r.buf = make([]byte, gpioEventSize*len(list))
	}
	n, err := r.file.Read(r.buf)
	if err != nil {
		return 0, err
	}
	if n < gpioEventSize {
		return 0, io.ErrUnexpectedEOF
	}
	return decodeEdges(list, r.buf[:n]), nil
}

// decodeEdges reads struct gpio_v2_line_event, in the machine's order: one for
// each 48 bytes of b, as many as fit into list.
func decodeEdges(list []uapi.LineEvent, b []byte) int {
	n := min(len(b)/gpioEventSize, len(list))
	for i := range list[:n] {
		e := b[i*gpioEventSize:]
		list[i] = uapi.LineEvent{
			Timestamp: binary.NativeEndian.Uint64(e), ID: uapi.LineEventID(binary.NativeEndian.Uint32(e[8:])),
			Offset: binary.NativeEndian.Uint32(e[12:]), Seqno: binary.NativeEndian.Uint32(e[16:]), LineSeqno: binary.NativeEndian.Uint32(e[20:]),
		}
	}
	return n
}
