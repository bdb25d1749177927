/** The endpoint over the real engine: Retry, rotation of connection IDs, stateless resets, changes of address. */
import { createCipheriv, createDecipheriv, createHmac, randomBytes } from "node:crypto";
import { assert, assertEquals } from "@std/assert";
import {
  type AcceptOptions,
  type AcceptPolicy,
  type Aead,
  type Connection,
  type Endpoint,
  type EndpointOptions,
  RetryTokens,
} from "../../src/core/quic/mod.ts";
import { emptyLongHeader, firstPacketBytes } from "../../src/core/quic/header.ts";
import { createProfiles, MemoryNetwork, type MemoryPacket, RecordingHandler } from "./endpoint_fixture.ts";

/** So little that a turn's share is soon over. */
const FEW_A_TURN = {
  connectionsMax: 4,
  handshakesMax: 4,
  packetBytesMax: 1500,
  datagramBytesMax: 1500,
  datagramsPerTurn: 2,
  bytesPerTurn: 100_000,
};

const SERVER = "192.0.2.1", CLIENT = "198.51.100.7";
const PORT = 4433;

interface Rig {
  readonly network: MemoryNetwork;
  readonly server: Endpoint;
  readonly client: Endpoint;
  readonly atServer: RecordingHandler;
  readonly atClient: RecordingHandler;
  readonly refusedTokens: string[];
  dial(port?: number): Connection;
  datagram(connection: Connection, text: string): void;
}

interface RigOptions {
  readonly retry?: RetryTokens | null;
  readonly admit?: () => boolean;
  readonly both?: Partial<EndpointOptions>;
  readonly accepting?: Partial<AcceptOptions>;
}

function testAead(): Aead {
  const key = randomBytes(32);
  return {
    seal(nonce, plaintext, additional) {
      const cipher = createCipheriv("aes-256-gcm", key, nonce).setAAD(additional);
      return new Uint8Array([...cipher.update(plaintext), ...cipher.final(), ...cipher.getAuthTag()]);
    },
    open(nonce, sealed, additional) {
      const opener = createDecipheriv("aes-256-gcm", key, nonce).setAAD(additional).setAuthTag(sealed.subarray(-16));
      try {
        return new Uint8Array([...opener.update(sealed.subarray(0, -16)), ...opener.final()]);
      } catch {
        return null;
      }
    },
  };
}

const tokens = () =>
  new RetryTokens([{ id: 1, aead: testAead() }], (bytes) => crypto.getRandomValues(bytes as Uint8Array<ArrayBuffer>));

async function rig(options: RigOptions = {}): Promise<Rig> {
  const network = new MemoryNetwork();
  const profiles = await createProfiles(network.engine);
  const atServer = new RecordingHandler(() => network.engine), atClient = new RecordingHandler(() => network.engine);
  const refusedTokens: string[] = [];
  const { arena } = network.engine;
  const policy: AcceptPolicy = {
    addressOf: (slot) => arena.bytes.slice(slot + 2, slot + 8),
    admit: options.admit ?? (() => true),
    onAccepted: () => {},
    onTokenRefused: (why) => refusedTokens.push(why),
  };
  const server = network.endpoint(atServer, {
    resetHmac: (data) => new Uint8Array(createHmac("sha256", "key").update(data).digest()),
    accepting: {
      policy,
      retry: options.retry ?? null,
      epochMs: Date.now,
      handshakeMs: 5_000,
      retriesPerSecondMax: 100,
      resetsPerSecondMax: 10,
      ...options.accepting,
    },
    ...options.both,
  });
  server.accept(profiles.server);
  network.bind(server, SERVER, PORT);
  const client = network.endpoint(atClient, options.both);
  const at = network.layout.reserve(64);
  return {
    network,
    server,
    client,
    atServer,
    atClient,
    refusedTokens,
    dial(port = 5000) {
      const path = network.bind(client, CLIENT, port);
      const connection = client.connect(path, profiles.client, "server.test", network.slot(SERVER, PORT));
      assert(connection !== null);
      return connection;
    },
    datagram(connection, text) {
      const bytes = new TextEncoder().encode(text);
      arena.bytes.set(bytes, at);
      assertEquals(connection.engine.datagramSend(at, bytes.length), 0);
      connection.touch();
    },
  };
}

const toServer = (packet: MemoryPacket) => packet.to.address === SERVER;
const hasLongHeader = (packet: MemoryPacket) => ((packet.bytes[0] ?? 0) & 0x80) !== 0;
/** Initial 0, Retry 3 (RFC 9000 §17.2). */
const longType = (packet: MemoryPacket) => ((packet.bytes[0] ?? 0) >> 4) & 3;
/** Behind type, version and both connection IDs, which have 16 bytes here. */
const TOKEN_LENGTH_AT = 1 + 4 + 1 + 16 + 1 + 16;

Deno.test("without Retry a repeated first packet finds the connection that it began", async () => {
  const { network, dial, server, atServer, atClient } = await rig();
  dial();
  network.middlebox = (packet) => toServer(packet) && hasLongHeader(packet) ? [packet, packet] : packet;
  await network.pump(() => atServer.count("established") === 1 && atClient.count("established") === 1);
  assertEquals([server.size, server.counters.accepted, server.counters.retries], [1, 1, 0]);
});

Deno.test("with Retry nothing is kept before the client has shown its address, and the answer is shorter than the question", async () => {
  const { network, dial, server, atServer } = await rig({ retry: tokens() });
  dial();
  const sizes: number[] = [];
  network.middlebox = (packet) => {
    if (toServer(packet) && server.counters.retries === 0) assertEquals(server.size, 0);
    if (!toServer(packet) && hasLongHeader(packet) && longType(packet) === 3) {
      assertEquals(server.size, 0, "a Retry leaves no state");
      sizes.push(packet.bytes.length);
    }
    return packet;
  };
  await network.pump(() => atServer.count("established") === 1);
  // A first flight with a hybrid key share takes two packets: each is answered, the client heeds one.
  assert(sizes.length >= 1 && sizes.every((size) => size < 200));
  const { retries, tokensValidated, tokensRefused, accepted } = server.counters;
  assertEquals([retries, tokensValidated, tokensRefused, accepted], [sizes.length, 1, 0, 1]);
});

Deno.test("a token is refused from another port, when changed, and after its connection; the one without is asked again", async () => {
  const { network, dial, server, atServer, refusedTokens } = await rig({ retry: tokens() });
  const connection = dial();
  let withToken: MemoryPacket | null = null;
  network.middlebox = (packet) => {
    if (toServer(packet) && hasLongHeader(packet) && longType(packet) === 0 && packet.bytes[TOKEN_LENGTH_AT] !== 0) {
      withToken ??= packet;
    }
    return packet;
  };
  await network.pump(() => atServer.count("established") === 1);
  assert(withToken !== null);
  const initial: MemoryPacket = withToken;
  network.deliver(initial);
  assertEquals(server.counters.accepted, 1, "while the connection lives it gets its repeated packet");
  connection.close(0, "done");
  await network.pump(() => server.size === 0);
  network.deliver(initial);
  network.deliver({ ...initial, from: { ...initial.from, port: 5001 } });
  const changed = initial.bytes.slice();
  changed[TOKEN_LENGTH_AT + 30] = (changed[TOKEN_LENGTH_AT + 30] ?? 0) ^ 1;
  network.deliver({ ...initial, bytes: changed });
  assertEquals(refusedTokens, ["replayed", "not-authentic", "not-authentic"]);
  assertEquals([server.counters.tokensRefused, server.counters.accepted, server.size], [3, 1, 0]);
});

Deno.test("who is not admitted leaves nothing behind", async () => {
  const { network, dial, server } = await rig({ admit: () => false });
  dial();
  await network.pump(() => server.counters.overPolicy >= 1);
  assertEquals([server.size, server.localIds.size, server.counters.accepted], [0, 0, 0]);
});

Deno.test("a handshake that does not end is given up", async () => {
  const { network, dial, server } = await rig({ accepting: { handshakeMs: 50 } });
  dial();
  let first = true;
  network.middlebox = (packet) => {
    const passes = toServer(packet) && first;
    if (passes) first = false;
    return passes ? packet : null;
  };
  await network.pump(() => server.counters.handshakeTimeouts === 1);
  await network.pump(() => server.size === 0);
});

Deno.test("what a peer said in datagrams right before it closed is heard, though all of it comes in one batch", async () => {
  const { network, dial, atServer, atClient, datagram } = await rig({ both: { limits: { ...FEW_A_TURN } } });
  const connection = dial();
  await network.pump(() => atServer.count("established") === 1 && atClient.count("established") === 1);
  const batch: MemoryPacket[] = [];
  network.middlebox = (packet) => {
    if (!toServer(packet)) return packet;
    batch.push(packet);
    return null;
  };
  const words = ["one", "two", "three", "four", "five"];
  for (const word of words) datagram(connection, word);
  await network.pump(() => batch.length > 0);
  connection.close(0, "done");
  const sent = batch.length;
  await network.pump(() => batch.length > sent);
  for (const packet of batch) network.deliver(packet);
  await network.pump(() => atServer.count("closed") === 1);
  assertEquals(atServer.datagrams, words);
});

/** The QUIC packets in one UDP payload. */
function packetsOf({ engine: { arena }, layout }: MemoryNetwork, { bytes }: MemoryPacket): Uint8Array[] {
  const at = layout.reserve(bytes.length);
  arena.bytes.set(bytes, at);
  const packets: Uint8Array[] = [];
  for (let from = 0; from < bytes.length;) {
    const length = firstPacketBytes(arena.view, at + from, bytes.length - from, emptyLongHeader());
    packets.push(bytes.slice(from, from + length));
    from += length;
  }
  return packets;
}

Deno.test("a datagram arrives that stands behind a repeated handshake packet in one UDP payload", async () => {
  const { network, dial, server, atServer, atClient, datagram } = await rig();
  const connection = dial();
  let handshake: Uint8Array | null = null;
  network.middlebox = (packet) => {
    if (toServer(packet)) handshake = packetsOf(network, packet).find((bytes) => ((bytes[0] ?? 0) & 0xf0) === 0xe0) ?? handshake;
    return packet;
  };
  await network.pump(() => atServer.count("established") === 1 && atClient.count("established") === 1);
  const settled = performance.now() + 50;
  await network.pump(() => performance.now() > settled);
  network.middlebox = (packet) => {
    if (!toServer(packet) || hasLongHeader(packet) || handshake === null) return packet;
    return { ...packet, bytes: new Uint8Array([...handshake, ...packet.bytes]) };
  };
  datagram(connection, "behind it");
  await network.pump(() => atServer.datagrams.length > 0, 500);
  assertEquals([handshake !== null, atServer.datagrams, server.size], [true, ["behind it"], 1]);
});

/** The connection ID in a short-header packet, as text. */
const shortId = (packet: MemoryPacket) => packet.bytes.slice(1, 17).join();

Deno.test("connection IDs change on the wire in both directions, nothing is lost and nothing is left behind", async () => {
  const { network, dial, server, client, atServer, atClient, datagram } = await rig({
    both: { rotation: { intervalMs: 40, idsMax: 16 } },
  });
  const connection = dial();
  await network.pump(() => atServer.count("established") === 1 && atClient.count("established") === 1);
  const up: string[] = [], down: string[] = [];
  network.middlebox = (packet) => {
    const seen = toServer(packet) ? up : down;
    if (!hasLongHeader(packet) && seen.at(-1) !== shortId(packet)) seen.push(shortId(packet));
    return packet;
  };
  const peer = atServer.connections[0] as Connection;
  for (let n = 0; n < 600; n++) {
    datagram(connection, `up ${n}`);
    datagram(peer, `down ${n}`);
    await network.pump(() => atServer.datagrams.length > n && atClient.datagrams.length > n);
  }
  assertEquals(atServer.datagrams, Array.from({ length: 600 }, (_, n) => `up ${n}`));
  assertEquals(atClient.datagrams, Array.from({ length: 600 }, (_, n) => `down ${n}`));
  assert(up.length > 5 && new Set(up).size === up.length, `IDs used towards the server: ${up.length}`);
  assert(down.length > 5, `IDs used towards the client: ${down.length}`);
  assert(server.localIds.size < 12, `IDs in the table: ${server.localIds.size}`);
  connection.close(0, "done");
  await network.pump(() => server.size === 0 && client.size === 0, 6_000);
  assertEquals([server.localIds.size, client.localIds.size], [0, 0]);
});

Deno.test("a late packet with an ID that the peer has retired meanwhile does no harm", async () => {
  const { network, dial, server, atServer, datagram } = await rig({ both: { rotation: { intervalMs: 250, idsMax: 16 } } });
  const connection = dial();
  await network.pump(() => atServer.count("established") === 1);
  let late: MemoryPacket | null = null;
  let changes = 0, last = "";
  network.middlebox = (packet) => {
    if (!toServer(packet) || hasLongHeader(packet)) return packet;
    if (shortId(packet) !== last) changes++;
    last = shortId(packet);
    if (late !== null) return packet;
    late = packet;
    return null;
  };
  for (let round = 0; round < 3; round++) {
    late = null;
    const before = changes + (round === 0 ? 1 : 0);
    // Until the client uses another ID and has said that it retires the old one, which is long before the next rotation.
    while (changes === before || late === null) await send(5);
    for (let n = 0; n < 4; n++) await send(5);
    network.deliver(late);
    assertEquals(server.counters.retiredId, round + 1);
  }
  const before = atServer.datagrams.length;
  datagram(connection, "still here");
  await network.pump(() => atServer.datagrams.length > before);
  assertEquals([atServer.count("closed"), server.size], [0, 1]);

  async function send(ms: number): Promise<void> {
    datagram(connection, "x");
    const until = performance.now() + ms;
    await network.pump(() => performance.now() > until);
  }
});

Deno.test("an endpoint that has lost a connection ends it by a stateless reset, shorter than what it answers", async () => {
  await resetByTheNext(await rig(), () => Promise.resolve());
});

Deno.test("a client knows a reset also by the token of an ID that it was given later", async () => {
  const first = await rig({ both: { rotation: { intervalMs: 40, idsMax: 16 } } });
  await resetByTheNext(first, async (connection) => {
    const seen = new Set<string>();
    first.network.middlebox = (packet) => {
      if (toServer(packet) && !hasLongHeader(packet)) seen.add(shortId(packet));
      return packet;
    };
    for (let n = 0; seen.size < 3; n++) {
      first.datagram(connection, `${n}`);
      await first.network.pump(() => first.atServer.datagrams.length > n);
    }
  });
});

/** `live`: what happens to the connection before its server is another one. */
async function resetByTheNext(first: Rig, live: (connection: Connection) => Promise<void>): Promise<void> {
  const connection = first.dial();
  await first.network.pump(() => first.atServer.count("established") === 1 && first.atClient.count("established") === 1);
  await live(connection);
  // A second server with the same key takes the first one's place.
  const second = await rig();
  const fromClient: MemoryPacket[] = [];
  first.network.middlebox = (packet) => {
    if (toServer(packet)) fromClient.push(packet);
    return null;
  };
  first.datagram(connection, "x".repeat(30));
  await first.network.pump(() => fromClient.length > 0);
  const answers: MemoryPacket[] = [];
  second.network.middlebox = (packet) => {
    answers.push(packet);
    return null;
  };
  for (const packet of fromClient) second.network.deliver(packet);
  await second.network.pump(() => answers.length > 0);
  assertEquals([second.server.counters.resets, second.server.size], [1, 0]);
  assert((answers[0]?.bytes.length ?? 99) < (fromClient[0]?.bytes.length ?? 0));
  first.network.middlebox = (packet) => packet;
  for (const answer of answers) first.network.deliver(answer);
  await first.network.pump(() => first.atClient.count("closed") === 1);
}

Deno.test("stateless resets are bounded", async () => {
  const { network, server } = await rig();
  for (let n = 0; n < 50; n++) {
    const bytes = crypto.getRandomValues(new Uint8Array(60));
    bytes[0] = 0x40;
    network.deliver({ bytes, from: { address: CLIENT, port: 6000 }, to: { address: SERVER, port: PORT } });
  }
  assertEquals(server.counters.resets, 10);
  assertEquals(server.counters.unknownConnection, 50);
});

Deno.test("a client behind a new address keeps its connection, and the handler is told", async () => {
  const { network, dial, server, atServer, atClient, datagram } = await rig();
  const connection = dial();
  await network.pump(() => atServer.count("established") === 1 && atClient.count("established") === 1);
  // A NAT that maps the client to another port from now on, and back.
  const outside = { address: CLIENT, port: 7000 };
  network.middlebox = (packet) => {
    if (toServer(packet)) return { ...packet, from: outside };
    return packet.to.port === outside.port ? { ...packet, to: { address: CLIENT, port: 5000 } } : packet;
  };
  for (let n = 0; atServer.count("migrated") === 0 && n < 50; n++) {
    datagram(connection, `${n}`);
    const until = performance.now() + 10;
    await network.pump(() => performance.now() > until);
  }
  assertEquals([atServer.count("migrated"), server.counters.migrations, server.size], [1, 1, 1]);
  datagram(atServer.connections[0] as Connection, "to the new address");
  await network.pump(() => atClient.datagrams.includes("to the new address"));
  const slot = network.layout.reserve(32);
  assert((atServer.connections[0] as Connection).engine.peerAddress(slot));
  assertEquals(network.engine.arena.view.getUint16(slot + 2), outside.port);
});
