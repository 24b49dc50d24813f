// What an application does with Dapr's JavaScript SDK, over HTTP and over gRPC: one line per step. See ../README.md.
const { setTimeout: sleep } = require("node:timers/promises");
const { CommunicationProtocolEnum, DaprClient, DaprServer, HttpMethod, StateConcurrencyEnum } = require("@dapr/dapr");

const { STORE, BUS, SECRETS, APP_PORT, PEERS, DAPR_APP_ID } = process.env;
const quiet = { service: { log() {}, info() {}, warn() {}, debug() {}, verbose() {}, error: console.error } };
const firstWrite = { concurrency: StateConcurrencyEnum.CONCURRENCY_FIRST_WRITE };

const say = (...words) => console.log(words.join(" "));

function check(holds, what) {
  if (!holds) throw new Error(what);
}

async function until(what, ask) {
  const end = Date.now() + 30_000;
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      if (Date.now() > end) throw new Error(`${what}: ${error}`);
      await sleep(100);
    }
  }
}

async function conflict(write) {
  // Over HTTP the SDK hands a failed write back, over gRPC it throws it.
  const error = await write().then((answer) => answer?.error, (thrown) => thrown);
  check(error && /409|aborted/i.test(String(error)), `no conflict but ${error}`);
}

async function steps(protocol, events) {
  const name = protocol === CommunicationProtocolEnum.HTTP ? "http" : "grpc";
  const client = new DaprClient({ communicationProtocol: protocol, logger: quiet });
  await client.start();
  say(name, "started");
  check(await client.health.isHealthy(), "not healthy");
  say(name, "healthy");
  const known = await client.metadata.get();
  check(known.id === DAPR_APP_ID, `metadata of ${known.id}`);
  say(name, "metadata");

  const [key, other] = [`${name}-a`, `${name}-b`];
  await client.state.save(STORE, [{ key, value: { step: 1 } }, { key: other, value: "text" }]);
  check((await client.state.get(STORE, key)).step === 1, "another value");
  say(name, "state");
  const bulk = await client.state.getBulk(STORE, [key, other]);
  const etag = bulk.find((one) => one.key === key).etag;
  check(etag && bulk.find((one) => one.key === other).data === "text", JSON.stringify(bulk));
  say(name, "bulk");
  const write = (step) => client.state.save(STORE, [{ key, value: { step }, etag, options: firstWrite }]);
  check(!(await write(2))?.error, "the first write is refused");
  await conflict(() => write(3));
  check((await client.state.get(STORE, key)).step === 2, "the second write came through");
  say(name, "conflict");
  await client.state.transaction(STORE, [
    { operation: "upsert", request: { key, value: "transacted" } },
    { operation: "delete", request: { key: other } },
  ]);
  check((await client.state.get(STORE, key)) === "transacted" && (await client.state.get(STORE, other)) === "", "half");
  say(name, "transaction");
  await client.state.delete(STORE, key);
  check((await client.state.get(STORE, key)) === "", "still there");
  say(name, "delete");

  await until("an event comes back", async () => {
    const { error } = await client.pubsub.publish(BUS, "javascript", { by: name });
    if (error) throw error;
    await sleep(200);
    check(events.some((event) => event.by === name), "none yet");
  });
  say(name, "event");
  if (SECRETS) {
    const found = await client.secret.get(SECRETS, "SDKS_SECRET");
    check(found.SDKS_SECRET === "kept", JSON.stringify(found));
    say(name, "secret");
  }
  for (const peer of PEERS.split(",")) {
    const call = () => client.invoker.invoke(peer, "hello", HttpMethod.POST, { from: name });
    const answer = await until(`${peer} answers`, call);
    check(answer.heard.from === name, JSON.stringify(answer));
    say(name, "invoke", answer.by);
  }
  await client.stop();
}

async function main() {
  const events = [];
  const server = new DaprServer({ serverHost: "127.0.0.1", serverPort: APP_PORT, logger: quiet, clientOptions: { logger: quiet } });
  await server.pubsub.subscribe(BUS, "javascript", async (event) => void events.push(event));
  const hello = async ({ body }) => ({ by: "javascript", heard: JSON.parse(body) });
  await server.invoker.listen("hello", hello, { method: HttpMethod.POST });
  await server.start();
  for (const protocol of [CommunicationProtocolEnum.HTTP, CommunicationProtocolEnum.GRPC]) await steps(protocol, events);
  say("done");
  // Others may still call.
  await new Promise((over) => process.stdin.on("end", over).resume());
  await server.stop();
}

main().then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
