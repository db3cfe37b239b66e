package pinfs

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/stack4things/s4t/fuse"
)

// Names is how long the kernel may keep names and modes: what changes is told
// to it.
const Names = time.Minute

// Config configures a [Server].
type Config struct {
	Dir    string       // required: the mount point; made where it is not there
	Source Source       // required
	Name   string       // optional: of the file system, as mount(8) shows it
	Log    *slog.Logger // optional: default discards
}

// kernel is who keeps names, and is told what to forget.
type kernel interface {
	InvalidateEntry(parent fuse.Ino, name string)
	InvalidateInode(ino fuse.Ino)
}

// Server serves a mounted tree.
type Server struct {
	fs     *FS
	server *fuse.Server
}

// Mount mounts the tree of a source. Its errors are those of [fuse.Mount]. What
// it returns is to be served: until then who uses the tree waits.
func Mount(cfg Config) (*Server, error) {
	fs := newFS(cfg.Source)
	server, err := fuse.Mount(fuse.Config{Dir: cfg.Dir, FileSystem: fs, Name: cfg.Name, Timeout: Names, Log: cfg.Log})
	if err != nil {
		return nil, err
	}
	fs.kernel = server
	return &Server{fs: fs, server: server}, nil
}

// Mounted says whether the tree is still where it was mounted.
func (s *Server) Mounted() bool { return s.server.Mounted() }

// Serve serves the tree, and shows what changes in it, until ctx ends or
// somebody unmounts it. Then it is not mounted.
func (s *Server) Serve(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			changed := s.fs.source.Changed()
			s.fs.follow()
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	})
	err := s.server.Serve(ctx)
	stop()
	wg.Wait()
	return err
}
