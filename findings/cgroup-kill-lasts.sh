#!/bin/sh
# A cgroup of version 2 that was once killed through its file cgroup.kill kills, ever after, every
# process that is cloned straight into it (clone3 with CLONE_INTO_CGROUP; in Go
# SysProcAttr.UseCgroupFD): at birth, while the clone itself succeeds. A process that joins by
# cgroup.procs, and its children, live.
#
# Seen with Linux 6.18 and 6.1.172. Needs Go, root and a cgroup2 that is mounted somewhere. Fails
# when that is no longer so.
#
# For us: a cgroup is made anew for each start of a plugin, and what becomes it joins, decision 024.
set -eu
root=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
[ -n "$root" ] || { echo "no cgroup2 is mounted"; exit 2; }
dir=$(mktemp -d)
group=$root/s4t-finding-$$
trap 'rmdir "$group" 2>/dev/null || :; rm -rf "$dir"' EXIT
mkdir "$group"
cat >"$dir/main.go" <<'GO'
package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// cloned starts a program in the group at its birth, and says how that went.
func cloned(group *os.File) string {
	cmd := exec.Command("/bin/sh", "-c", "exit 0")
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(group.Fd())}
	if err := cmd.Start(); err != nil {
		return "start: " + err.Error()
	}
	if err := cmd.Wait(); err != nil {
		return err.Error()
	}
	return "lives"
}

func main() {
	group, err := os.Open(os.Args[1])
	if err != nil {
		panic(err)
	}
	before := cloned(group)
	if err := os.WriteFile(filepath.Join(os.Args[1], "cgroup.kill"), []byte("1"), 0); err != nil {
		panic(err)
	}
	joined := exec.Command("/bin/sh", "-c", "echo $$ >"+os.Args[1]+"/cgroup.procs && sh -c 'exit 0'")
	join := "lives"
	if err := joined.Run(); err != nil {
		join = err.Error()
	}
	fmt.Printf("cloned before: %s; joined after: %s; cloned after: %s, %s\n", before, join, cloned(group), cloned(group))
}
GO
cd "$dir"
seen=$(go run main.go "$group")
echo "Linux $(uname -r), $(go env GOVERSION): $seen"
if [ "$seen" = "cloned before: lives; joined after: lives; cloned after: signal: killed, signal: killed" ]; then
	echo "as described: what is cloned into a group that was killed once is killed, too"
	exit 0
fi
echo "it is no longer so"
exit 1
