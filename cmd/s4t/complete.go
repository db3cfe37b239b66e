package main

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
)

// completionTimeout bounds what a shell waits for live names.
const completionTimeout = 2 * time.Second

// completer offers names for the first argument, or for a flag.
type completer = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective)

// names makes a completer of a list of the API, for the first n arguments.
// Where the cloud does not answer there is nothing to offer.
func names[T any](a *app, n int, list func(context.Context, *apiclient.Client) ([]T, error), name func(T) string) completer {
	return func(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
		if len(args) >= n {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		client, err := a.client()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		defer client.Close()
		ctx, cancel := context.WithTimeout(context.Background(), completionTimeout)
		defer cancel()
		items, err := list(ctx, client)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var out []string
		for _, it := range items {
			if s := name(it); strings.HasPrefix(s, prefix) {
				out = append(out, s)
			}
		}
		return out, cobra.ShellCompDirectiveNoFileComp
	}
}

// anyNumber of arguments, or a flag's value.
const anyNumber = 1 << 30

func (a *app) completeBoards(n int) completer {
	return names(a, n, func(ctx context.Context, c *apiclient.Client) ([]s4t.Board, error) { return c.Boards(ctx, nil, "") }, func(b s4t.Board) string { return b.Name })
}

func (a *app) completeBridges() completer {
	return names(a, 1, func(ctx context.Context, c *apiclient.Client) ([]s4t.Bridge, error) { return c.Bridges(ctx) }, func(b s4t.Bridge) string { return b.Name })
}

func (a *app) completeOperations() completer {
	return names(a, 1, func(ctx context.Context, c *apiclient.Client) ([]s4t.Operation, error) { return c.Operations(ctx) }, func(o s4t.Operation) string { return string(o.ID) })
}

// completeServices offers boards, then what is exposed on the board.
func (a *app) completeServices(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return a.completeBoards(1)(cmd, args, prefix)
	}
	list := func(ctx context.Context, c *apiclient.Client) ([]s4t.Service, error) { return c.Services(ctx, args[0]) }
	return names(a, 2, list, func(s s4t.Service) string { return s.Name })(cmd, args, prefix)
}

func (a *app) completeContexts(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	path, _ := a.contextPath()
	all, err := readContexts(path)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var out []string
	for _, v := range all.views() {
		out = append(out, v.Name)
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

func completionCommand() *cobra.Command {
	script := func(shell, example string, generate func(*cobra.Command) error) *cobra.Command {
		return &cobra.Command{Use: shell, Short: "The script for " + shell, Example: example, Args: exactly(0),
			RunE: func(cmd *cobra.Command, _ []string) error { return generate(cmd) }}
	}
	return newGroup("completion", "Scripts that complete commands and live names in a shell", "  source <(s4t completion bash)",
		script("bash", "  source <(s4t completion bash)\n  s4t completion bash > /etc/bash_completion.d/s4t", func(c *cobra.Command) error { return c.Root().GenBashCompletionV2(c.OutOrStdout(), true) }),
		script("zsh", "  s4t completion zsh > \"${fpath[1]}/_s4t\"", func(c *cobra.Command) error { return c.Root().GenZshCompletion(c.OutOrStdout()) }),
		script("fish", "  s4t completion fish > ~/.config/fish/completions/s4t.fish", func(c *cobra.Command) error { return c.Root().GenFishCompletion(c.OutOrStdout(), true) }))
}
