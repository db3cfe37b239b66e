#!/bin/sh
# eKuiper gives a tumbling window in which nothing came as one empty object: the
# count(*) that the rule selects is missing, where SQL's aggregate of no rows is 0.
#
# Seen with LF Edge eKuiper v2.4.2. Fails when that is no longer so. Builds eKuiper,
# which takes minutes the first time.
#
# For us: a rule that watches for silence looks for {} there, not for n = 0.
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
# One line, read once: the windows after it are empty.
cat >"$dir/home/etc/sources/file.yaml" <<YAML
default: {fileType: csv, path: $dir, interval: 1h, hasHeader: false, columns: [value], delimiter: ","}
YAML
echo 1 >"$dir/one.csv"
cat >"$dir/home/data/init.json" <<'JSON'
{"streams": {"s": "CREATE STREAM s (value FLOAT) WITH (TYPE=\"file\", DATASOURCE=\"one.csv\", FORMAT=\"delimited\", DELIMITER=\",\")"}, "tables": {},
 "rules": {"r": "{\"id\": \"r\", \"sql\": \"SELECT count(*) AS n FROM s GROUP BY TUMBLINGWINDOW(ss, 1)\", \"actions\": [{\"log\": {}}]}"}}
JSON
KuiperBaseKey="$dir/home" "$dir/bin/kuiperd-v2.4.2" >"$dir/log" 2>&1 &
pid=$!
results() { sed -n 's/.*msg="sink result for rule r: \(.*\)" file=.*/\1/p' "$dir/log"; }
for i in $(seq 120); do
	[ "$(results | wc -l)" -lt 3 ] || break
	sleep 0.5
done
echo "the window with the event, and two without, gave:"
results | head -n 3
if [ "$(results | sed -n 2,3p | sort -u)" = '[{}]' ]; then
	echo "as described: an empty object, without the count"
	exit 0
fi
echo "it is no longer so"
exit 1
