package unit

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// head is the comment that a unit begins with.
func (s Service) head() string {
	return "# " + s.Description + ". Written by `" + s.program() + " install`,\n# which writes it again whole: changes belong beside it.\n"
}

// program is the name of the program.
func (s Service) program() string {
	return s.Command[0][strings.LastIndexByte(s.Command[0], '/')+1:]
}

// under reports whether any path of the service is below one of these
// directories.
func (s Service) under(paths []string, dirs ...string) bool {
	return slices.ContainsFunc(paths, func(p string) bool {
		return slices.ContainsFunc(dirs, func(d string) bool { return p == d || strings.HasPrefix(p, d+"/") })
	})
}

// guestCapabilities are what it takes to give others less: their users, folders, namespaces and end.
var guestCapabilities = []string{"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_KILL", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID", "CAP_SYS_ADMIN"}

// systemd is the unit file: systemd.service(5), systemd.exec(5).
func (s Service) systemd() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	paths := slices.Concat([]string{s.Command[0], s.State}, s.Writes, s.Reads)
	b.WriteString(s.head())
	line("[Unit]\nDescription=%s", specifiers(s.Description))
	line("Documentation=https://github.com/stack4things/s4t")
	line("# Not network-online.target: it does not wait for the network.\nAfter=network.target")
	if s.Needs != "" {
		line("ConditionPathExists=%s", specifiers(s.Needs))
	}
	line("StartLimitIntervalSec=0\n\n[Service]")
	line("ExecStart=%s", words(s.Command, systemdWord))
	if s.Reload {
		line("ExecReload=/bin/kill -HUP $MAINPID")
	}
	line("Restart=always\nRestartSec=1")
	if len(s.Hopeless) > 0 {
		line("# Trying again does not help after these.\nRestartPreventExitStatus=%s", strings.Join(s.Hopeless, " "))
	}
	runtimeMode := "0700"
	if s.Mounts {
		runtimeMode = "0755" // what is mounted there is for others
	}
	line("# For what need not survive a boot: the socket of a state that is read-only.\nRuntimeDirectory=%s\nRuntimeDirectoryMode=%s", s.Name, runtimeMode)
	writes := s.Writes
	if s.Mounts {
		writes = nil
	}
	if s.State == Systemd.StateDir(s.Name) {
		line("StateDirectory=%s\nStateDirectoryMode=0700", s.Name)
	} else if !s.Mounts {
		writes = append([]string{s.State}, writes...)
	}
	for _, w := range writes {
		line("ReadWritePaths=%s", systemdPath("-"+w)) // "-": where there is one
	}
	line("KillSignal=SIGTERM\nTimeoutStopSec=10")
	if s.Files > 0 {
		line("LimitNOFILE=%d", s.Files)
	}
	if s.Shells {
		line("\n# Nothing is taken away from it: the shells that it begins for users would lack that too.\n\n[Install]\nWantedBy=multi-user.target")
		return b.String()
	}
	line("\n# It keeps the rights that it needs, and no other.")
	capabilities := strings.Join(s.Capabilities, " ")
	if s.Guests {
		capabilities = strings.Join(slices.Compact(slices.Sorted(slices.Values(slices.Concat(s.Capabilities, guestCapabilities)))), " ")
	}
	line("CapabilityBoundingSet=%s\nAmbientCapabilities=%s", capabilities, capabilities)
	line("DevicePolicy=closed")
	if s.TUN {
		line("DeviceAllow=/dev/net/tun rw")
	}
	for _, d := range s.Devices {
		line("DeviceAllow=%s rw", d)
	}
	line("NoNewPrivileges=yes")
	calls := "@system-service"
	if s.Mounts || s.Guests {
		calls += " @mount"
	}
	if s.Mounts {
		line("# Nothing that gives it a mount namespace of its own (ProtectSystem and the like):\n# others are to see what it mounts.")
	} else {
		s.isolate(line, paths)
	}
	line("ProtectClock=yes\nProtectHostname=yes")
	line("RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK\nRestrictRealtime=yes\nRestrictSUIDSGID=yes\nLockPersonality=yes")
	if s.Guests {
		line("# Not RestrictNamespaces, ProtectControlGroups: what it runs for others has its own of both.\n# Not MemoryDenyWriteExecute: that code may compile, and a call that is not in the filter\n# fails rather than kills it.\nSystemCallErrorNumber=EPERM")
	} else {
		line("RestrictNamespaces=yes\nMemoryDenyWriteExecute=yes")
	}
	line("SystemCallArchitectures=native\nSystemCallFilter=%s\nUMask=0077", calls)
	line("\n[Install]\nWantedBy=multi-user.target")
	return b.String()
}

// isolate has it see the machine's files as far as it needs to, in a mount namespace of
// its own. paths are those that it uses.
func (s Service) isolate(line func(format string, args ...any), paths []string) {
	line("ProtectSystem=strict")
	switch {
	case s.under(paths, "/home", "/root", "/run/user"):
		line("ProtectHome=read-only")
	default:
		line("ProtectHome=yes")
	}
	if !s.under(paths, "/tmp", "/var/tmp") {
		line("PrivateTmp=yes")
	}
	line("ProtectKernelLogs=yes\nProtectKernelModules=yes\nProtectProc=invisible")
	if !s.Guests {
		line("ProtectControlGroups=yes")
	}
	if !s.TUN {
		line("ProtectKernelTunables=yes")
	} else {
		line("# Not ProtectKernelTunables: the ARP and router advertisement settings of a\n# device are in /proc/sys.")
	}
}

// openRC is the script of the service: openrc-run(8), supervise-daemon(8).
func (s Service) openRC() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("#!/sbin/openrc-run\n%s", s.head())
	line("description=%s", shellWord(s.Description))
	line("supervisor=supervise-daemon\nrespawn_delay=1\nrespawn_max=0")
	line("command=%s", shellWord(s.Command[0]))
	line("command_args=%s", shellWord(words(s.Command[1:], shellWord))) // the manager evaluates it once more
	line("output_logger=%s\nerror_logger=%s", shellWord("logger -t "+s.Name), shellWord("logger -t "+s.Name))
	if !s.Shells {
		line("no_new_privs=yes")
	}
	line("retry=TERM/10")
	if s.Files > 0 {
		line("rc_ulimit=%s", shellWord("-n "+strconv.Itoa(s.Files)))
	}
	if s.Needs != "" {
		line("required_files=%s", shellWord(s.Needs))
	}
	if s.Reload {
		line("extra_started_commands=reload")
	}
	line("\ndepend() {\n\tafter net\n\tuse logger\n}")
	line("\nstart_pre() {\n\tcheckpath --directory --mode 0700 %s\n}", shellWord(s.State))
	if s.Reload {
		line("\nreload() {\n\tebegin \"Having $RC_SVCNAME read its configuration\"\n\tsupervise-daemon \"$RC_SVCNAME\" --signal HUP\n\teend $?\n}")
	}
	return b.String()
}

// procd is the script of the service on OpenWrt.
func (s Service) procd() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("#!/bin/sh /etc/rc.common\n%s", s.head())
	if s.TUN {
		line("# Virtual networks need the package kmod-tun.")
	}
	line("START=95\nSTOP=10\nUSE_PROCD=1\n\nstart_service() {")
	if s.Needs != "" {
		line("\t[ -e %s ] || return 0", shellWord(s.Needs))
	}
	line("\tmkdir -p -m 0700 %s", shellWord(s.State))
	line("\tprocd_open_instance\n\tprocd_set_param command %s", words(s.Command, shellWord))
	line("\tprocd_set_param respawn 60 1 0\n\tprocd_set_param term_timeout 10")
	if s.Files > 0 {
		line("\tprocd_set_param limits nofile=%s", shellWord(fmt.Sprintf("%d %d", s.Files, s.Files)))
	}
	if !s.Shells {
		line("\tprocd_set_param no_new_privs 1")
	}
	line("\tprocd_set_param stdout 1\n\tprocd_set_param stderr 1\n\tprocd_close_instance\n}")
	if s.Reload {
		line("\nreload_service() {\n\tprocd_send_signal %s\n}", shellWord(s.Name)) // SIGHUP by default
	}
	return b.String()
}

// words writes a command line.
func words(args []string, write func(string) string) string {
	out := make([]string, len(args))
	for i, a := range args {
		out[i] = write(a)
	}
	return strings.Join(out, " ")
}

// specifiers writes text in which systemd.unit(5) knows specifiers.
func specifiers(text string) string { return strings.ReplaceAll(text, "%", "%%") }

// plain reports whether a word means itself wherever it stands.
func plain(word string) bool {
	return word != "" && !strings.ContainsFunc(word, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("/._-:,=+@[]", r)
	})
}

// systemdPath writes an item of a list of paths, see "Quoting" of
// systemd.syntax(7).
func systemdPath(word string) string {
	if plain(word) {
		return word
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "%", "%%").Replace(word) + `"`
}

// systemdWord writes a word of a command line, where "$" begins a variable.
func systemdWord(word string) string { return strings.ReplaceAll(systemdPath(word), "$", "$$") }

// shellWord writes a word for a POSIX shell.
func shellWord(word string) string {
	if plain(word) && !strings.ContainsAny(word, "[]") {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
