package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
	"github.com/stack4things/s4t/seal"
)

// auditHeadCommand prints a head to keep.
func (a *app) auditHeadCommand() *cobra.Command {
	return &cobra.Command{Use: "head", Short: "Print the signed head of the audit, to keep elsewhere", Long: `Print the signed head of the audit, to keep elsewhere.

It says how many records there are and what the hash over all of them is. With it
` + "`s4t audit verify --head FILE`" + ` tells later whether any of them was changed since.`,
		Example: "  s4t audit head > audit-2026-12-01.json", Args: exactly(0),
		RunE: a.withClient(func(ctx context.Context, c *apiclient.Client, _ []string) error {
			h, err := c.AuditHead(ctx)
			if err != nil {
				return err
			}
			text, err := json.Marshal(h)
			if err == nil {
				_, err = fmt.Fprintf(a.stdout, "%s\n", text)
			}
			return err
		})}
}

// auditVerifyCommand looks whether the audit is as it was sealed.
func (a *app) auditVerifyCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{Use: "verify", Short: "Look whether records of the audit were changed, removed, inserted or reordered", Long: `Look whether records of the audit were changed, removed, inserted or reordered.

Each record that you see is compared with the chain of hashes that the cloud made of the
audit and signed; an admin sees all, others those of their project. Prints the first
record at which they part, and is 1 then. A head that was kept shows also a chain that somebody
made anew, who has the cloud's key and its database.`,
		Example: "  s4t audit verify\n  s4t audit verify --head audit-2026-12-01.json", Args: exactly(0)}
	cmd.RunE = a.withClient(func(ctx context.Context, c *apiclient.Client, _ []string) error {
		var kept *s4t.AuditHead
		if file != "" {
			h, err := readHead(file)
			if err != nil {
				return err
			}
			kept = &h
		}
		r, err := c.VerifyAudit(ctx, kept)
		if err != nil {
			return err
		}
		if !r.OK() {
			return s4t.Errorf(s4t.Internal, "verify the audit", "compare with a backup, and ask who has had access to the database", "%s", r.Problem)
		}
		if a.format != "table" {
			return a.printData(r)
		}
		_, err = fmt.Fprintf(a.stdout, "OK: %d records, head %d %s of %s%s\n", r.Records, r.Head.Count, r.Head.Chain, r.Head.At.UTC().Format("2006-01-02T15:04:05Z"), rest(r))
		return err
	})
	cmd.Flags().StringVar(&file, "head", "", "a head from before, in `FILE`: the chain has to go through it")
	return cmd
}

// rest says what a report has besides the records that were compared.
func rest(r seal.Report) (text string) {
	for _, part := range []struct {
		n    int64
		what string
	}{{r.Trimmed, "trimmed"}, {r.Others, "of others"}, {r.Open, "not sealed yet"}} {
		if part.n > 0 {
			text += fmt.Sprintf(", %d %s", part.n, part.what)
		}
	}
	return text
}

// readHead reads a head that was kept.
func readHead(name string) (s4t.AuditHead, error) {
	f, err := os.Open(name)
	if err != nil {
		return s4t.AuditHead{}, s4t.Errorf(s4t.Invalid, "read the head "+name, "", "%w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, seal.MaxHead+1))
	if err != nil {
		return s4t.AuditHead{}, s4t.Errorf(s4t.Invalid, "read the head "+name, "", "%w", err)
	}
	return seal.ParseHead(text)
}
