#!/bin/sh
# A callable plugin for any shell, busybox's too. A request is one line,
# {"id":"7","command":"greet","params":{"name":"Ada"}}, and so is an answer.
# What goes to standard error is in the plugin's log.
echo "ready" >&2

field() { # the text of a string, still escaped as JSON has it: it is put into JSON again
	printf '%s\n' "$line" | sed -n 's/.*"'"$1"'":"\(\([^"\\]\|\\.\)*\)".*/\1/p'
}

while IFS= read -r line; do
	case $line in *'"cancel":true'*) continue ;; esac # what is asked for here is over soon
	id=$(field id)
	case $(field command) in
	greet)
		printf '{"id":"%s","result":{"greeting":"hello %s"}}\n' "$id" "$(field name)"
		;;
	count)
		n=$(printf '%s\n' "$line" | sed -n 's/.*"n": *\([0-9]*\).*/\1/p')
		i=1
		while [ "$i" -le "$n" ]; do
			printf '{"id":"%s","output":%d}\n' "$id" "$i"
			i=$((i + 1))
		done
		printf '{"id":"%s","result":%d}\n' "$id" "$n"
		;;
	*)
		printf '{"id":"%s","error":"there is no such command"}\n' "$id"
		;;
	esac
done
