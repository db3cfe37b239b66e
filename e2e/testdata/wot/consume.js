// consume.js TD-URL INPUT OUTPUT ACTION: an ordinary consumer. It fetches a Thing
// Description, reads and observes the input, writes the output, and invokes the action. The token is in
// the variable TOKEN, the CA in NODE_EXTRA_CA_CERTS. Run in a folder with the
// packages of package.json. It prints a line for each thing that it did.
const { createRequire } = require("module");
const need = createRequire(process.cwd() + "/");
const { Servient } = need("@node-wot/core");
const { HttpsClientFactory, HttpClientFactory } = need("@node-wot/binding-http");

const [url, input, output, action] = process.argv.slice(2);
const token = process.env.TOKEN;

(async () => {
  const answer = await fetch(url, { headers: { authorization: `Bearer ${token}` } });
  if (!answer.ok) throw new Error(`${url}: ${answer.status}`);
  const td = await answer.json();
  console.log("type", answer.headers.get("content-type"));

  const servient = new Servient();
  servient.addClientFactory(new HttpsClientFactory({ allowSelfSigned: false }));
  servient.addClientFactory(new HttpClientFactory());
  servient.addCredentials({ [td.id]: { token } });
  const wot = await servient.start();
  const thing = await wot.consume(td);

  console.log("read", await (await thing.readProperty(input)).value());
  const value = 1 - (await (await thing.readProperty(output)).value());
  await thing.writeProperty(output, value);
  console.log("wrote", value, "reads", await (await thing.readProperty(output)).value());

  const seen = [];
  await new Promise((resolve, reject) => {
    thing
      .observeProperty(
        input,
        async (o) => {
          seen.push(await o.value());
          if (seen.length === 3) resolve();
        },
        reject
      )
      .catch(reject);
  });
  console.log("observed", seen.join(" "));

  try {
    await thing.writeProperty(input, 1);
    console.log("written: the input", input);
  } catch (e) {
    console.log("refused", e.message);
  }
  const said = await thing.invokeAction(action, { who: "node-wot" });
  console.log("invoked", await said.value());
  process.exit(0);
})().catch((e) => {
  console.error(e);
  process.exit(1);
});
