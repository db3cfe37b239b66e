package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
)

func newMigrateCommand() *cobra.Command {
	var from, to string
	c := &cobra.Command{
		Use:   "migrate",
		Short: "Copy the database of a cloud that is stopped to another engine",
		Long: "Copy the database of a cloud that is stopped, between SQLite and PostgreSQL, in either direction. The target is made, has to\n" +
			"be empty, and has all or nothing of it: rows are counted at both ends. Then start the cloud with --database and the\n" +
			"URL of the target; boards notice nothing but a restart. The data directory stays where it is, with its CA.",
		Example: "  iotronic migrate --from sqlite:/var/lib/iotronic/iotronic.db --to postgres://iotronic@db.example.org/iotronic",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			const op = "migrate the database"
			if from == "" || to == "" {
				return usage(s4t.Errorf(s4t.Invalid, op, "use --from sqlite:PATH --to postgres://USER@HOST/NAME", "--from and --to are needed"))
			}
			for _, url := range []string{from, to} {
				unlock, err := lockDatabase(url)
				if err != nil {
					return err
				}
				defer unlock()
			}
			ctx := cmd.Context()
			src, err := store.OpenToRead(ctx, from)
			if err != nil {
				return err
			}
			defer src.Close()
			used, err := src.InUse(ctx)
			if err != nil {
				return err
			}
			if used {
				return s4t.Errorf(s4t.Conflict, op, "stop every iotronic that uses it, and wait some seconds", "a conductor runs on the source")
			}
			dst, err := store.Open(ctx, store.Config{URL: to})
			if err != nil {
				return err
			}
			defer dst.Close()
			rows := int64(0)
			err = store.Copy(ctx, src, dst, func(t store.Copied) {
				rows += t.Rows
				fmt.Fprintf(cmd.OutOrStdout(), "%s\t%d rows\n", t.Table, t.Rows)
			})
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "migrated: %d rows, counted at both ends\n", rows)
			return err
		},
	}
	c.Flags().StringVar(&from, "from", "", "`URL` of the database to copy")
	c.Flags().StringVar(&to, "to", "", "`URL` of an empty one")
	return c
}

// lockDatabase holds the data directory that a file of SQLite is in, where it is
// one, so that no iotronic starts meanwhile.
func lockDatabase(url string) (unlock func(), err error) {
	path, isFile := strings.CutPrefix(url, "sqlite:")
	if !isFile {
		return func() {}, nil
	}
	dir := filepath.Dir(path)
	if _, err := os.Stat(filepath.Join(dir, lockFile)); err != nil {
		return func() {}, nil
	}
	return openDataDir(dir)
}
