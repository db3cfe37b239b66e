package main

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
	"github.com/stack4things/s4t/plugin/bundle"
)

func (a *app) pluginCreate() *cobra.Command {
	sign := ""
	cmd := &cobra.Command{Use: "create NAME (DIR | FILE.tar.gz) [--sign KEY]", Short: "Make a plugin of a folder with a plugin.toml, or a version of it",
		Long: `Packs a folder with a plugin.toml, signs the bundle and uploads it: a new plugin, or a
new version of one that is there. What was uploaded before is not sent again, and an
upload that was cut goes on where it was.

The key is that of --sign, else ~/.config/s4t/plugin-key.pem, which is made when it is
not there.`,
		Example: "  s4t plugin create weather ./weather\n  s4t plugin create weather weather-1.2.tar.gz --sign release.pem", Args: exactly(2)}
	cmd.RunE = a.withClient(func(ctx context.Context, c *apiclient.Client, args []string) error {
		key, err := a.signingKey(sign)
		if err != nil {
			return err
		}
		file, size, err := packed(args[1])
		if err != nil {
			return err
		}
		defer file.Close()
		var progress func(int64)
		if isTerminal(a.stderr) {
			progress = func(has int64) {
				fmt.Fprintf(a.stderr, "\ruploaded %3d %%", has*100/max(size, 1))
				if has == size {
					fmt.Fprintln(a.stderr)
				}
			}
		}
		digest, err := c.PutBundle(ctx, file, size, progress)
		if err != nil {
			return err
		}
		p, err := c.CreatePlugin(ctx, args[0], digest, key.Public().(ed25519.PublicKey), bundle.Sign(key, digest))
		if err != nil {
			return err
		}
		return a.printPlugin(p)
	})
	cmd.Flags().StringVar(&sign, "sign", "", "`KEY`: a file that `s4t plugin keygen` made (default ~/.config/s4t/plugin-key.pem)")
	return cmd
}

// packed opens a bundle; a folder is packed into a file that has no name.
func packed(path string) (*os.File, int64, error) {
	op := "read " + path
	info, err := os.Stat(path)
	if err != nil {
		return nil, 0, s4t.Errorf(s4t.Invalid, op, "name a folder with a plugin.toml, or a .tar.gz of one", "%w", errors.Unwrap(err))
	}
	if !info.IsDir() {
		f, err := os.Open(path)
		if err != nil {
			return nil, 0, s4t.Errorf(s4t.Invalid, op, "", "%w", err)
		}
		if info.Size() == 0 || info.Size() > s4t.MaxBundle {
			f.Close()
			return nil, 0, s4t.Errorf(s4t.Invalid, op, "", "it has %d bytes, 1 to %d are possible", info.Size(), s4t.MaxBundle)
		}
		return f, info.Size(), nil
	}
	f, err := os.CreateTemp("", "s4t-bundle-")
	if err != nil {
		return nil, 0, s4t.Errorf(s4t.Internal, op, "", "%w", err)
	}
	os.Remove(f.Name())
	if _, _, err = bundle.Pack(path, f); err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	info, serr := f.Stat()
	if err = errors.Join(err, serr); err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, info.Size(), nil
}

// signingKey is the key of a file, or the user's own.
func (a *app) signingKey(path string) (ed25519.PrivateKey, error) {
	if path != "" {
		return bundle.ReadKey(path)
	}
	dir := a.configDir()
	path = filepath.Join(dir, "plugin-key.pem")
	key, err := bundle.ReadKey(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, s4t.Errorf(s4t.Internal, "make a key that signs plugins", "give one with --sign", "%w", err)
	}
	if key, err = bundle.GenerateKey(); err == nil {
		err = bundle.WriteKey(path, key)
	}
	if s4t.KindOf(err) == s4t.Conflict { // another s4t made it at this moment
		return bundle.ReadKey(path)
	}
	return key, err
}

func pluginKeygen() *cobra.Command {
	return &cobra.Command{Use: "keygen FILE", Short: "Make a key that signs plugins: FILE, and FILE.pub for the owners of boards", Example: "  s4t plugin keygen release.pem", Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			key, err := bundle.GenerateKey()
			if err != nil {
				return err
			}
			der, err := x509.MarshalPKIXPublicKey(key.Public())
			if err != nil {
				return err
			}
			pub := args[0] + ".pub"
			if _, err := os.Lstat(pub); err == nil {
				return s4t.Errorf(s4t.Conflict, "write the key "+pub, "name another file, or move it away", "it exists")
			}
			if err := bundle.WriteKey(args[0], key); err != nil {
				return err
			}
			if err := os.WriteFile(pub, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o644); err != nil {
				return s4t.Errorf(s4t.Internal, "write the key "+pub, "", "%w", err)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "Wrote %s and %s.\n", oneLine(args[0]), oneLine(pub))
			return err
		}}
}
