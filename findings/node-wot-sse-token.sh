#!/bin/sh
# node-wot sends the bearer token of a thing with reads, writes and long polls, and
# with a subscription by server-sent events it does not.
#
# Seen with @node-wot/core and @node-wot/binding-http 0.9.2, Node 20.20. Fails when
# that is no longer so.
#
# For us: the forms for observing in our Thing Descriptions are long polls.
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

const came = []; // "METHOD PATH: whether a token came"
let done;
const subscribed = new Promise((r) => (done = r));
const server = http.createServer((q, a) => {
  came.push(`${q.method} ${q.url}: ${q.headers.authorization === "Bearer secret" ? "token" : "no token"}`);
  if (q.url === "/sse") {
    a.writeHead(200, { "content-type": "text/event-stream" });
    a.write("data: 1\n\n");
    done();
    return;
  }
  a.writeHead(200, { "content-type": "application/json" });
  a.end("1");
});
server.listen(0, "127.0.0.1", async () => {
  const form = (href, op, more) => ({ href, contentType: "application/json", op, ...more });
  const property = (forms) => ({ type: "number", observable: true, forms });
  const td = {
    "@context": "https://www.w3.org/2022/wot/td/v1.1", id: "urn:example:1", title: "t", base: `http://127.0.0.1:${server.address().port}/`,
    securityDefinitions: { b: { scheme: "bearer" } }, security: ["b"],
    properties: { p: property([form("value", ["readproperty"]), form("sse", ["observeproperty", "unobserveproperty"], { subprotocol: "sse" })]) },
  };
  const servient = new Servient();
  servient.addClientFactory(new HttpClientFactory());
  servient.addCredentials({ "urn:example:1": { token: "secret" } });
  const thing = await (await servient.start()).consume(td);
  await (await thing.readProperty("p")).value();
  thing.observeProperty("p", () => {}, () => {}).catch(() => {});
  await subscribed;
  console.log(came.join("\n"));
  const as = came.includes("GET /value: token") && came.includes("GET /sse: no token");
  console.log(as ? "as described: the subscription came without the token" : "it is no longer so");
  process.exit(as ? 0 : 1);
});
setTimeout(() => { console.log("no subscription came"); process.exit(1); }, 30000);
JS
node run.js
