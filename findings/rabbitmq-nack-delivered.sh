#!/bin/sh
# RabbitMQ answers a message to a fan-out exchange with basic.nack where one of the queues that it
# goes to is full and rejects (x-overflow: reject-publish), although the other queues have taken
# it: their consumers get it. So a publisher that sends again what was nacked, as one does, sends
# it twice to everybody who had room.
#
# Seen with RabbitMQ 3.10.8 (Debian 12) and amqp091-go 1.16.0. Needs Go, Debian 12 and some 15 s.
# Fails when that is no longer so.
#
# For us: a fan-out is told once, and a nack of it is no error; who missed one looks by himself
# (decision 016).
set -eu
dir=$(mktemp -d)
node=
trap '[ -z "$node" ] || kill -9 "-$node" 2>/dev/null || :; rm -rf "$dir"' EXIT
cd "$dir"
apt-get -qq download rabbitmq-server=3.10.8-1.1+deb12u1 $(printf 'erlang-%s=1:25.2.3+dfsg-1+deb12u4 ' base asn1 crypto eldap ftp inets mnesia os-mon parsetools public-key runtime-tools ssl syntax-tools tftp tools xmerl) 2>/dev/null
for deb in *.deb; do dpkg -x "$deb" root; done
sed -i "s|^ROOTDIR=.*|ROOTDIR=$dir/root/usr/lib/erlang|" root/usr/lib/erlang/bin/erl
cat >main.go <<'GO'
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func main() {
	if len(os.Args) == 1 { // a port that is free
		l := must(net.Listen("tcp", "127.0.0.1:0"))
		fmt.Println(l.Addr().(*net.TCPAddr).Port)
		l.Close()
		return
	}
	var c *amqp.Connection
	for end := time.Now().Add(2 * time.Minute); c == nil; time.Sleep(100 * time.Millisecond) {
		var err error
		if c, err = amqp.Dial("amqp://guest:guest@127.0.0.1:" + os.Args[1] + "/"); err != nil && time.Now().After(end) {
			panic(err)
		}
	}
	defer c.Close()
	ch := must(c.Channel())
	if err := ch.ExchangeDeclare("all", "fanout", false, true, false, false, nil); err != nil {
		panic(err)
	}
	for name, room := range map[string]int32{"roomy": 100, "small": 1} {
		must(ch.QueueDeclare(name, false, false, true, false, amqp.Table{"x-max-length": room, "x-overflow": "reject-publish"}))
		if err := ch.QueueBind(name, "", "all", false, nil); err != nil {
			panic(err)
		}
	}
	if err := ch.Confirm(false); err != nil {
		panic(err)
	}
	ctx := context.Background()
	send := func() bool {
		d := must(ch.PublishWithDeferredConfirmWithContext(ctx, "all", "", false, false, amqp.Publishing{Body: []byte("x")}))
		return must(d.WaitContext(ctx))
	}
	first, second := send(), send()
	count := 0
	for {
		if _, ok, err := ch.Get("roomy", true); err != nil || !ok {
			break
		}
		count++
	}
	fmt.Printf("acknowledged: %t, then %t; the queue with room has %d\n", first, second, count)
}
GO
go mod init finding >/dev/null 2>&1
go get github.com/rabbitmq/amqp091-go@v1.16.0 >/dev/null 2>&1
go build -o client .
port=$(./client)
mkdir home etc log mnesia
printf '[].' >etc/enabled_plugins
: >etc/rabbitmq.conf
export HOME="$dir/home" PATH="$dir/root/usr/lib/erlang/bin:$PATH" ERL_EPMD_PORT="$(./client)" ERL_EPMD_ADDRESS=127.0.0.1 \
	RABBITMQ_NODENAME=finding@localhost RABBITMQ_NODE_IP_ADDRESS=127.0.0.1 RABBITMQ_NODE_PORT="$port" RABBITMQ_DIST_PORT="$(./client)" \
	RABBITMQ_MNESIA_BASE="$dir/mnesia" RABBITMQ_LOG_BASE="$dir/log" RABBITMQ_ENABLED_PLUGINS_FILE="$dir/etc/enabled_plugins" \
	RABBITMQ_CONFIG_FILE="$dir/etc/rabbitmq" RABBITMQ_CONF_ENV_FILE="$dir/etc/none" RABBITMQ_GENERATED_CONFIG_DIR="$dir/etc" RABBITMQ_PID_FILE="$dir/pid"
setsid sh -c 'epmd -port "$ERL_EPMD_PORT" -address 127.0.0.1 & exec "$0"' "$dir/root/usr/lib/rabbitmq/lib/rabbitmq_server-3.10.8/sbin/rabbitmq-server" >node.log 2>&1 </dev/null &
node=$!
seen=$(./client "$port")
echo "$seen"
[ "$seen" = "acknowledged: true, then false; the queue with room has 2" ]
