package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
)

// sshFlags of `s4t ssh`.
type sshFlags struct {
	user, identity string
	tcpPort        int
	options        []string
}

func (a *app) sshCommand() *cobra.Command {
	var flags sshFlags
	cmd := &cobra.Command{
		Use:   "ssh BOARD [-- COMMAND...]",
		Short: "Log in to a board, or run a command there",
		Long: `Runs the system's ssh, through the HTTPS port of the cloud: the board needs no
public port. It exits with the status of the remote command. Host keys are those
that the board's agent reports, which asks the service over its loopback, once, else
accepted on first use; they are kept per board in ~/.config/s4t/known_hosts.d.`,
		Example: "  s4t ssh kitchen --user root\n  s4t ssh kitchen -- uname -a\n  s4t ssh kitchen --ssh-option ForwardAgent=yes",
		Args:    between(1, -1), ValidArgsFunction: a.completeBoards(1),
	}
	cmd.PreRunE = func(*cobra.Command, []string) error {
		if flags.tcpPort < 1 || flags.tcpPort > 65535 {
			return usage(cmd, "--port %d is not a TCP port", flags.tcpPort)
		}
		for _, o := range flags.options {
			if k, _, ok := strings.Cut(o, "="); !ok || k == "" {
				return usage(cmd, "--ssh-option %q is not K=V", o)
			}
		}
		return nil
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		at, err := a.resolve()
		if err != nil {
			return err
		}
		client, err := at.client()
		if err != nil {
			return err
		}
		defer client.Close()
		return a.ssh(cmd.Context(), client, args[0], flags, args[1:])
	}
	f := cmd.Flags()
	f.StringVar(&flags.user, "user", "", "`USER` on the board (default as ssh decides)")
	f.IntVar(&flags.tcpPort, "port", 22, "TCP `PORT` of the SSH service")
	f.StringVar(&flags.identity, "identity", "", "`FILE` of the private key")
	f.StringArrayVar(&flags.options, "ssh-option", nil, "`K=V`, an option of ssh_config; may be repeated")
	return cmd
}

func (a *app) ssh(ctx context.Context, client *apiclient.Client, ref string, flags sshFlags, command []string) error {
	board, err := client.Board(ctx, ref)
	if err != nil {
		return err
	}
	op := "ssh to board " + board.Name
	if board.Status != s4t.BoardOnline {
		return s4t.Errorf(s4t.Offline, op, "see `s4t doctor "+board.Name+"`, or `s4t board wait "+board.Name+" --status online`", "it is %s", board.Status)
	}
	if !s4t.IsID(string(board.ID)) || s4t.ValidName("board", board.Name) != nil {
		return s4t.Errorf(s4t.Internal, op, "", "the cloud gave it a name or id that is none")
	}
	program, err := exec.LookPath("ssh")
	if err != nil {
		return s4t.Errorf(s4t.Unavailable, op, "install OpenSSH, or use another client with ProxyCommand `s4t connect "+board.Name+" 22`", "this machine has no ssh")
	}
	self, err := os.Executable()
	if err != nil {
		return s4t.Errorf(s4t.Internal, op, "", "find this program: %w", err)
	}
	env, err := a.sshEnvironment()
	if err != nil {
		return err
	}
	// The grant itself is not used: the ProxyCommand asks for its own. It makes
	// the board bring idle rtunnels meanwhile.
	grant, err := client.OpenStream(ctx, string(board.ID), apiclient.StreamOpen{TCPPort: flags.tcpPort, HostKeys: true})
	if err != nil {
		return err
	}
	keys := a.hostKeys(board, flags.tcpPort, grant.HostKeys)
	strict, err := keys.settle()
	if err != nil {
		return err
	}
	args := append([]string{program}, sshArgs(self, keys, strict, board, flags, command)...)
	// ssh replaces this process: its exit status, its terminal and its
	// signals are then the user's own.
	err = syscall.Exec(program, args, env)
	return s4t.Errorf(s4t.Internal, op, "", "run %s: %w", program, err)
}

// sshArgs are the arguments of ssh. With strict, no key is accepted but those
// that are kept.
func sshArgs(self string, keys hostKeys, strict bool, board s4t.Board, flags sshFlags, command []string) []string {
	check := "accept-new"
	if strict {
		check = "yes"
	}
	var args []string
	for _, o := range flags.options { // first: ssh takes the first value of an option
		args = append(args, "-o", o)
	}
	args = append(args,
		"-o", "ProxyCommand="+proxyCommand(self, board.ID),
		"-o", "HostKeyAlias="+keys.alias,
		"-o", "UserKnownHostsFile="+sshPath(keys.path),
		"-o", "StrictHostKeyChecking="+check,
		"-o", "CheckHostIP=no",
		"-o", "UpdateHostKeys=no",
		"-p", strconv.Itoa(flags.tcpPort),
	)
	if flags.user != "" {
		args = append(args, "-l", flags.user)
	}
	if flags.identity != "" {
		args = append(args, "-i", flags.identity)
	}
	args = append(args, "--", board.Name)
	return append(args, command...)
}

// proxyCommand is run by ssh: percent signs are expanded first, then a shell
// reads it, which ssh tells to exec it.
func proxyCommand(self string, id s4t.BoardID) string {
	quoted := "'" + strings.ReplaceAll(self, "'", `'\''`) + "'"
	return strings.ReplaceAll(quoted, "%", "%%") + " connect " + string(id) + " %p"
}

// sshPath quotes a path for ssh_config: a list separated by blanks, with
// percent signs and quotes.
func sshPath(p string) string {
	p = strings.NewReplacer("%", "%%", `\`, `\\`, `"`, `\"`).Replace(p)
	return `"` + p + `"`
}

// sshEnvironment tells the `s4t connect` beneath ssh which context to use,
// without a token in anybody's arguments.
func (a *app) sshEnvironment() ([]string, error) {
	env := os.Environ()
	set := func(name, value string) { // once: of two values a program may take the first
		env = slices.DeleteFunc(env, func(e string) bool { return strings.HasPrefix(e, name+"=") })
		env = append(env, name+"="+value)
	}
	if a.contextFile != "" {
		abs, err := filepath.Abs(a.contextFile)
		if err != nil {
			return nil, s4t.Errorf(s4t.Internal, "find the contexts", "", "%w", err)
		}
		set("S4T_CONTEXT_FILE", abs)
	}
	if a.contextName != "" {
		set("S4T_CONTEXT", a.contextName)
	}
	return env, nil
}
