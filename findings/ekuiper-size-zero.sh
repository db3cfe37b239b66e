#!/bin/sh
# eKuiper's file source takes a file whose size is told as 0 for an empty one and
# does not read it: files that are made when they are read, as those of procfs are,
# give no events.
#
# Seen with LF Edge eKuiper v2.4.2. Fails when that is no longer so. Builds eKuiper,
# which takes minutes the first time.
#
# For us: files of pins tell a size, as those of sysfs do, and not 0.
set -eu
dir=$(mktemp -d)
pid=
trap '[ -z "$pid" ] || kill "$pid"; rm -rf "$dir"' EXIT
"$(dirname "$0")/../scripts/ekuiper" "$dir/bin"
mkdir -p "$dir/home/data" "$dir/home/log" "$dir/home/plugins"
cp -r "$dir/bin/etc" "$dir/home/etc"
cat >"$dir/home/etc/kuiper.yaml" <<'YAML'
basic: {logLevel: info, consoleLog: true, fileLog: false, ip: 127.0.0.1, port: 0, restIp: 127.0.0.1, restPort: 0, pprof: false}
store: {type: sqlite, extStateType: sqlite}
YAML
cat >"$dir/home/etc/sources/file.yaml" <<YAML
default: {fileType: csv, path: /, interval: 100ms, hasHeader: false, columns: [up, idle], delimiter: " "}
YAML
cat /proc/uptime >"$dir/uptime" # the same text, with a size
stream() { echo "\"$1\": \"CREATE STREAM $1 (up STRING, idle STRING) WITH (TYPE=\\\"file\\\", DATASOURCE=\\\"$2\\\", FORMAT=\\\"delimited\\\", DELIMITER=\\\" \\\")\""; }
rule() { echo "\"$1\": \"{\\\"id\\\": \\\"$1\\\", \\\"sql\\\": \\\"SELECT up FROM $1\\\", \\\"actions\\\": [{\\\"log\\\": {}}]}\""; }
cat >"$dir/home/data/init.json" <<JSON
{"streams": {$(stream plain "$dir/uptime"), $(stream proc /proc/uptime)}, "tables": {}, "rules": {$(rule plain), $(rule proc)}}
JSON
KuiperBaseKey="$dir/home" "$dir/bin/kuiperd-v2.4.2" >"$dir/log" 2>&1 &
pid=$!
events() { grep -c "sink result for rule $1:" "$dir/log" || true; }
ignored() { grep -c 'read empty file /proc/uptime, ignore' "$dir/log" || true; }
for i in $(seq 120); do
	[ "$(events plain)" -lt 5 ] || [ "$(ignored)$(events proc)" = 00 ] || break
	sleep 0.5
done
echo "a copy of /proc/uptime gave $(events plain) events; /proc/uptime itself gave $(events proc), and was called empty $(ignored) times"
if [ "$(events plain)" -ge 5 ] && [ "$(events proc)" = 0 ] && [ "$(ignored)" -ge 1 ]; then
	echo "as described: it is not read"
	exit 0
fi
echo "it is no longer so"
exit 1
