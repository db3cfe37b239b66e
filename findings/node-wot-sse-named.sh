#!/bin/sh
# node-wot tells who subscribes by server-sent events of events without a name
# only: one with a line "event: NAME" (WHATWG HTML, section 9.2) is not told.
#
# Seen with @node-wot/core and @node-wot/binding-http 0.9.2, Node 20.20. Fails when
# that is no longer so.
#
# For us: streams of samples have no names. (Streams of events, GET /v1/events, have.)
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund --ignore-scripts @node-wot/core@0.9.2 @node-wot/binding-http@0.9.2
cat >run.js <<'JS'
const http = require("http");
const { Servient } = require("@node-wot/core");
const { HttpClientFactory } = require("@node-wot/binding-http");

const server = http.createServer((q, a) => {
  a.writeHead(200, { "content-type": "text/event-stream" });
  a.write("event: change\ndata: 1\n\n");
  a.write("data: 2\n\n");
  a.write("event: change\ndata: 3\n\n");
  a.write("data: 4\n\n");
});
server.listen(0, "127.0.0.1", async () => {
  const td = {
    "@context": "https://www.w3.org/2022/wot/td/v1.1", id: "urn:example:1", title: "t", base: `http://127.0.0.1:${server.address().port}/`,
    securityDefinitions: { n: { scheme: "nosec" } }, security: ["n"],
    properties: { p: { type: "number", observable: true, forms: [{ href: "sse", contentType: "application/json", op: ["observeproperty", "unobserveproperty"], subprotocol: "sse" }] } },
  };
  const servient = new Servient();
  servient.addClientFactory(new HttpClientFactory());
  const thing = await (await servient.start()).consume(td);
  const seen = [];
  await thing.observeProperty("p", async (o) => {
    const v = await o.value();
    seen.push(v);
    if (v !== 4) return;
    console.log("sent: change 1, 2, change 3, 4; told:", seen.join(", "));
    const as = seen.join() === "2,4";
    console.log(as ? "as described: events with a name were not told" : "it is no longer so");
    process.exit(as ? 0 : 1);
  });
});
setTimeout(() => { console.log("the last event did not come"); process.exit(1); }, 30000);
JS
node run.js
