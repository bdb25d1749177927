/**
 * What an application may expect of TCP, kept through agent, server and connector: one row per behaviour. A row holds both ends in
 * its hands, `client` at the agent's local port and `backend` behind the connector, and says what each does and must see.
 */
import { assert, assertEquals } from "@std/assert";
import { Gateway, type Pair } from "./gateway_fixture.ts";
import {
  assertArrived,
  Backend,
  close,
  closedPort,
  echo,
  hashToEnd,
  isReset,
  MARK,
  Pattern,
  RawConnection,
  RawListener,
  readExactly,
  readToEnd,
  SilentPort,
  sleep,
  within,
  writeAll,
  writePattern,
} from "./tcp_fixture.ts";

const MIB = 1024 * 1024;
/** What a role may grow by while one reader stands still. */
const GROWTH_MIB_MAX = 32;

const held = new Backend();
const echoing = new Backend(echo);
const greeting = new Backend(async (connection) => {
  await writeAll(connection, text("220 ready\r\n"));
  await echo(connection);
});
const raw = new RawListener();
const silent = new SilentPort();
let gateway: Gateway;

Deno.test.beforeAll(async () => {
  gateway = await Gateway.start({
    services: {
      held: held.port,
      echo: echoing.port,
      greeting: greeting.port,
      raw: raw.port,
      silent: silent.port,
      refused: closedPort(),
    },
  });
});

Deno.test.afterAll(async () => {
  await gateway[Symbol.asyncDispose]();
  for (const backend of [held, echoing, greeting]) await backend[Symbol.asyncDispose]();
  raw[Symbol.dispose]();
  silent[Symbol.dispose]();
});

const pair = (): Promise<Pair> => gateway.pair("held", held);

/** A row. The roles are processes that live from row to row, so the test runner cannot say what belongs to one. */
function row(behaviour: string, fn: () => Promise<void>): void {
  Deno.test({ name: behaviour, fn, sanitizeOps: false, sanitizeResources: false });
}

const text = (words: string) => new TextEncoder().encode(words);

row("a backend that does not answer: the client is reset after 5 s, the agent's log has the reason", async () => {
  const before = gateway.connector.descriptors();
  const started = performance.now();
  const waiting = gateway.refusal("silent");
  // Those who give up meanwhile leave nothing behind.
  const impatient = await Promise.all(Array.from({ length: 20 }, () => gateway.connect("silent")));
  await sleep(500);
  for (const client of impatient) close(client);
  assertEquals(await waiting, "reset");
  const seconds = (performance.now() - started) / 1000;
  assert(seconds > 4.9 && seconds < 6.5, `after ${seconds} s`);
  await gateway.agent.until("stream-refused", { service: "silent", code: "backend-timeout" });
  await untilTrue(() => gateway.connector.descriptors() <= before + 1);
  assert(gateway.connector.descriptors() <= before + 1, `${gateway.connector.descriptors()} descriptors, ${before} before`);
});

row("half-close, client first: the answer comes after the client's end", async () => {
  using ends = await pair();
  const request = new Pattern(1).take(300_000), answer = new Pattern(2).take(400_000);
  await writeAll(ends.client, request);
  await ends.client.closeWrite();
  assertArrived(await readToEnd(ends.backend), request);
  await sleep(300);
  await writeAll(ends.backend, answer);
  await ends.backend.closeWrite();
  assertArrived(await readToEnd(ends.client), answer);
});

row("half-close, backend first: what the client says afterwards arrives", async () => {
  using ends = await pair();
  await writeAll(ends.backend, text("that is all"));
  await ends.backend.closeWrite();
  assertArrived(await readToEnd(ends.client), text("that is all"));
  await sleep(300);
  const rest = new Pattern(3).take(400_000);
  await writeAll(ends.client, rest);
  await ends.client.closeWrite();
  assertArrived(await readToEnd(ends.backend), rest);
});

row("both ends close at the same moment: both see all bytes and an end", async () => {
  for (let round = 0; round < 20; round++) {
    using ends = await pair();
    const up = text(`up ${round}`), down = text(`down ${round}`);
    await Promise.all([writeAll(ends.client, up), writeAll(ends.backend, down)]);
    await Promise.all([ends.client.closeWrite(), ends.backend.closeWrite()]);
    const [atClient, atBackend] = await Promise.all([readToEnd(ends.client), readToEnd(ends.backend)]);
    assertEquals([atClient, atBackend], [{ bytes: down, end: "end" }, { bytes: up, end: "end" }]);
  }
});

row("a reset by the client is a reset at the backend, not an end", async () => {
  const client = RawConnection.connect(gateway.portOf("held"));
  client.write(MARK);
  const backend = await held.next();
  client.write(text("half a message"));
  assertEquals(await readExactly(backend, 14), text("half a message"));
  client.reset();
  assertEquals((await readToEnd(backend, 3_000)).end, "reset");
  close(backend);
});

row("a reset by the client behind its end is a reset at the backend", async () => {
  const client = RawConnection.connect(gateway.portOf("held"));
  client.write(MARK);
  const backend = await held.next();
  client.write(text("question"));
  client.closeWrite();
  assertArrived(await readToEnd(backend), text("question"));
  await sleep(200);
  client.reset();
  const writing = (async () => {
    // Nothing is left to read: the reset shows when the backend speaks.
    for (;;) await writeAll(backend, new Uint8Array(1000)).then(() => sleep(10));
  })();
  const error = await within(3_000, "the reset", writing.catch((error: unknown) => error));
  assert(isReset(error), `${error}`);
  close(backend);
});

row("a reset by the backend is a reset at the client, not an end", async () => {
  using client = await gateway.connect("raw");
  await writeAll(client, MARK);
  const backend = await raw.accept();
  backend.write(text("half an answer"));
  assertEquals(await readExactly(client, 14), text("half an answer"));
  backend.reset();
  assertEquals((await readToEnd(client, 3_000)).end, "reset");
});

row("a reset by the backend behind its end is a reset at the client", async () => {
  using client = await gateway.connect("raw");
  await writeAll(client, MARK);
  const backend = await raw.accept();
  backend.write(text("answer"));
  backend.closeWrite();
  assertArrived(await readToEnd(client), text("answer"));
  await sleep(200);
  backend.reset();
  const writing = (async () => {
    for (;;) await writeAll(client, new Uint8Array(1000)).then(() => sleep(10));
  })();
  const error = await within(3_000, "the reset", writing.catch((error: unknown) => error));
  assert(isReset(error), `${error}`);
});

row("a client that goes away in the middle of an answer stops the backend", async () => {
  using ends = await pair();
  const writing = writePattern(ends.backend, 4, 512 * MIB).then(() => "wrote it all", (error: unknown) => error);
  await readExactly(ends.client, 1000);
  close(ends.client);
  const error = await within(5_000, "the backend's error", writing);
  assert(isReset(error), `${error}`);
});

row("the server speaks first", async () => {
  using client = await gateway.connect("greeting");
  assertEquals(await readExactly(client, 11), text("220 ready\r\n"));
  await writeAll(client, text("EHLO me\r\n"));
  assertEquals(await readExactly(client, 9), text("EHLO me\r\n"));
});

row("a connection of no bytes: an end each way, no byte and no reset", async () => {
  for (let round = 0; round < 20; round++) {
    using client = await gateway.connect("echo");
    await client.closeWrite();
    assertArrived(await readToEnd(client), new Uint8Array(0));
  }
});

row("10,000 writes of one byte arrive as they were, each way", async () => {
  using ends = await pair();
  const bytes = new Pattern(5).take(10_000);
  for (const [from, to] of [[ends.client, ends.backend], [ends.backend, ends.client]] as const) {
    const arriving = readToEnd(to);
    for (let i = 0; i < bytes.length; i++) await writeAll(from, bytes.subarray(i, i + 1));
    await from.closeWrite();
    assertArrived(await arriving, bytes);
  }
});

row("64 MiB from the client arrive unchanged", async () => {
  using ends = await pair();
  const arriving = hashToEnd(ends.backend);
  const sha256 = await writePattern(ends.client, 6, 64 * MIB);
  await ends.client.closeWrite();
  assertEquals(await arriving, { count: 64 * MIB, sha256, end: "end" });
});

row("64 MiB from the backend arrive unchanged", async () => {
  using ends = await pair();
  const arriving = hashToEnd(ends.client);
  const sha256 = await writePattern(ends.backend, 7, 64 * MIB);
  await ends.backend.closeWrite();
  assertEquals(await arriving, { count: 64 * MIB, sha256, end: "end" });
});

row("32 MiB each way at once arrive unchanged", async () => {
  using ends = await pair();
  const arriving = Promise.all([hashToEnd(ends.client), hashToEnd(ends.backend)]);
  const send = async (from: Deno.TcpConn, seed: number) => {
    const sha256 = await writePattern(from, seed, 32 * MIB);
    await from.closeWrite();
    return { count: 32 * MIB, sha256, end: "end" };
  };
  const sent = await Promise.all([send(ends.backend, 8), send(ends.client, 9)]);
  assertEquals(await arriving, sent as never);
});

for (const slow of ["client", "backend"] as const) {
  row(`a slow reader (${slow}) stops the sender, memory is bounded, then everything arrives`, async () => {
    using ends = await pair();
    const [reader, writer] = slow === "client" ? [ends.client, ends.backend] : [ends.backend, ends.client];
    const roles = [gateway.agent, gateway.server, gateway.connector];
    const before = roles.map((role) => role.residentMiB());
    const bound = heldBytesMax();
    const total = bound + 64 * MIB;
    let written = 0;
    const writing = writePattern(writer, 10, total, (count) => written = count);
    const stalledAt = await untilStill(() => written);
    assert(stalledAt < bound, `${(stalledAt / MIB).toFixed(1)} MiB were taken while nobody read`);
    const growth = roles.map((role, i) => role.residentMiB() - (before[i] ?? 0));
    for (const each of growth) assert(each < GROWTH_MIB_MAX, `agent, server, connector grew by ${growth.map(Math.round)} MiB`);
    // The others are not held up.
    using other = await gateway.connect("echo");
    await writeAll(other, text("still there?"));
    assertEquals(await readExactly(other, 12, 2_000), text("still there?"));

    const arriving = hashToEnd(reader);
    const sha256 = await writing;
    await writer.closeWrite();
    assertEquals(await arriving, { count: total, sha256, end: "end" });
  });
}

/**
 * Between a writer and a reader that stands still are two TCP connections with the kernel's buffers, as large as it lets them grow
 * (tcp(7)), and two QUIC connections with a window of 4 MiB for each stream; some more for what is on its way through the roles.
 */
function heldBytesMax(): number {
  const largest = (name: string) => Number(Deno.readTextFileSync(`/proc/sys/net/ipv4/${name}`).trim().split(/\s+/)[2]);
  return 2 * (largest("tcp_rmem") + largest("tcp_wmem")) + 2 * 4 * MIB + 4 * MIB;
}

/** Waits until a number has not changed for a while. */
async function untilStill(read: () => number): Promise<number> {
  for (let last = -1, still = 0;;) {
    await sleep(100);
    const now = read();
    still = now === last ? still + 1 : 0;
    if (still === 8) return now;
    last = now;
  }
}

row("200 parallel connections, each with its own data", async () => {
  const before = echoing.accepted;
  const clients = await Promise.all(Array.from({ length: 200 }, () => gateway.connect("echo")));
  try {
    // All stand before the first byte is sent.
    await untilTrue(() => echoing.accepted >= before + 200);
    assert(echoing.accepted - before >= 200);
    await Promise.all(clients.map(async (client, i) => {
      const bytes = new Pattern(1000 + i).take(40_000 + i);
      const arriving = readToEnd(client);
      await writeAll(client, bytes);
      await client.closeWrite();
      assertArrived(await arriving, bytes);
    }));
  } finally {
    for (const client of clients) close(client);
  }
});

row("a backend that refuses: the client is reset at once, the agent's log has the reason", async () => {
  const from = gateway.agent.lines.length;
  const started = performance.now();
  assertEquals(await gateway.refusal("refused"), "reset");
  assert(performance.now() - started < 2_000);
  await gateway.agent.until("stream-refused", { service: "refused", code: "backend-refused" }, { from });
});

row("a backend that refuses while the client goes on sending: the reason is in the log all the same", async () => {
  for (let round = 0; round < 20; round++) {
    const from = gateway.agent.lines.length;
    assertEquals(await gateway.refusal("refused", new Pattern(round).take(4 * MIB)), "reset");
    await gateway.agent.until("stream-refused", { service: "refused", code: "backend-refused" }, { from });
  }
});

row("hundreds of short connections of each kind of ending leave no descriptor and no memory behind", async () => {
  const roles = [gateway.agent, gateway.server, gateway.connector];
  const descriptors = roles.map((role) => role.descriptors());
  await endings(200);
  const memory = roles.map((role) => role.residentMiB());
  await endings(1_500);
  // A connector that looks at a backend just now has one more.
  const isBack = () => roles.every((role, i) => role.descriptors() <= (descriptors[i] ?? 0) + 1);
  await untilTrue(isBack);
  assert(isBack(), `agent, server, connector have ${roles.map((role) => role.descriptors())} descriptors, had ${descriptors}`);
  const growth = roles.map((role, i) => Math.round(role.residentMiB() - (memory[i] ?? 0)));
  for (const each of growth) assert(each < 32, `agent, server, connector grew by ${growth} MiB`);
});

/** Waits until it is so, for as long as it takes a busy machine, but not for ever. */
async function untilTrue(isSo: () => boolean): Promise<void> {
  for (const deadline = performance.now() + 10_000; !isSo() && performance.now() < deadline;) await sleep(20);
}

/** Opens and ends so many connections in the four ways, sixteen at a time. */
async function endings(count: number): Promise<void> {
  let left = count;
  const one = async (kind: number) => {
    if (kind === 3) return void await gateway.refusal("refused");
    if (kind === 2) {
      const client = RawConnection.connect(gateway.portOf("echo"));
      client.write(text("x"));
      return client.reset();
    }
    using client = await gateway.connect("echo");
    await writeAll(client, text("x"));
    if (kind === 1) await client.closeWrite();
    await readExactly(client, 1);
    if (kind === 1) assertEquals((await readToEnd(client)).end, "end");
  };
  const worker = async () => {
    while (left-- > 0) await one(left % 4);
  };
  await Promise.all(Array.from({ length: 16 }, worker));
}
