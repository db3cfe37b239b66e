// Package amqp is the driver of package queue for RabbitMQ (AMQP 0-9-1): the
// queue of a cloud that is more than one process. It passes the same tests as
// the one in memory.
//
// # What is on the broker
//
// Names begin with the prefix, "s4t" by default.
//
//	PREFIX.TOPIC         queue: what is sent to a topic. Durable; deleted by the last server that ends in order, else after 60 s that nobody serves
//	PREFIX.TOPIC.SERVER  queue: what is sent to one server, and the fan-outs of the topic. Exclusive, auto-delete
//	PREFIX.reply.ID      queue: answers to the calls of one process. Exclusive, auto-delete
//	PREFIX.fanout        exchange, direct, durable: queues of servers are bound to it by their topic
//
// Calls and casts go to the queue by its name, through the default exchange. The
// queues of topics and servers hold [queue.Depth] messages and refuse more.
// Messages are not persistent: what a broker that restarts has lost is asked
// again. Everything is declared by who serves, at each connection; nothing has
// to be made beforehand, and what an operator deletes is made again.
//
// # What a message has
//
//	type            call, cast or fanout; answer or error for what comes back
//	header method   the method; none in an answer
//	correlation_id  of a call, and of its answer
//	reply_to        of a call: where its answer goes
//	expiration      milliseconds: what was left of the caller's time when it was sent; 60 s for the rest
//	body            JSON; a queue.Raw as its bytes; the error as a wire.Error
//
// A message that is none of these is rejected, for good, and told in the log
// once a minute.
//
// # How it keeps the contract
//
// Every message is mandatory and confirmed, so that who sends to nobody, or to a
// queue that is full, hears it. A message is acknowledged once its handler has
// ended, and a call once the broker has its answer. What the broker delivers
// again is not handled: a call is answered with Unavailable, a cast is dropped.
// So a call is handled once at most, and a message on which a process dies is no
// other's death. Where the last server of a topic has died, calls wait in the
// queue for the next one, some 3 s: a caller without an answer looks every 1.5 s whether
// the queue has a consumer, and deletes it where it had none twice in a row; all who wait hear
// that nobody serves the topic, and so do those who call from then on, at once.
//
// There are two connections, because a broker that is short of memory or disk
// stops reading from those that publish; while it says so, sending fails at
// once. Either one's end is the end of both: calls under way end with
// Unavailable, and Run connects again.
package amqp
