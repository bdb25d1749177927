/**
 * A server of two workers, in turns in the process of the test: who is served, limited, refused or dropped must not depend on which of
 * them carries a connection.
 */
import { assert, assertEquals } from "@std/assert";
import { LOCAL_CID_BYTES, workerOfByte } from "../../src/core/quic/mod.ts";
import { RATE_LIMITS } from "../../src/core/ratelimit/mod.ts";
import { SOCKADDR_SLOT_BYTES, UdpSocket, writeSockaddr } from "../../src/io/mod.ts";
import type { ServerPlan } from "../../src/roles/control/mod.ts";
import { type CertificateOptions, createAuthority } from "../pki/mod.ts";
import { udpPacket } from "./inner_packets_fixture.ts";
import type { RawClient, RawClientOptions } from "./raw_client_fixture.ts";
import { revocation, ServerRig } from "./server_rig_fixture.ts";

const WORKERS = 2, HEADER_BYTES = 28, LONG_MS = 60_000;
/** Clients are placed by chance: nobody needs as many until one has come to the worker that is wanted. */
const CLIENTS_MAX = 40;

const start = (changes: Partial<ServerPlan> = {}) => ServerRig.start({ workers: WORKERS, ...changes });
const packet = (port: number, text: string | Uint8Array) => udpPacket({ from: ["100.64.0.1", port], to: ["10.100.0.2", 53] }, text);
const numbers = (client: RawClient, word: string) =>
  client.datagrams.map((one) => new TextDecoder().decode(one.subarray(HEADER_BYTES)).split(" "))
    .filter(([first]) => first === word).map(([, number]) => Number(number));

interface Placed {
  readonly client: RawClient;
  readonly number: number;
  readonly worker: number;
  readonly serial: string;
}

/** A registered client that this worker carries; those that came to another one are closed again. */
async function placed(
  rig: ServerRig,
  worker: number,
  role: "agent" | "connector",
  service: string,
  options: Partial<RawClientOptions> = {},
): Promise<Placed> {
  for (let i = 0; i < CLIENTS_MAX; i++) {
    const name: CertificateOptions = { commonName: `${role}-${service}-${crypto.randomUUID()}` };
    const client = await rig.client([`${role}.${service}.ztna`], options, name);
    await rig.until(() => client.isUp || client.ending !== null, LONG_MS);
    assert(client.isUp, JSON.stringify(client.ending));
    await rig.until(() => rig.status().peers.some((peer) => peer.name === name.commonName), LONG_MS);
    const peer = rig.status().peers.find((one) => one.name === name.commonName);
    assert(peer !== undefined);
    if (rig.workerOf(peer.id) === worker) {
      assertEquals(await rig.register(client, role, service), "ack");
      return { client, number: peer.id, worker, serial: peer.certificate?.serial ?? "" };
    }
    client.close();
    await rig.until(() => rig.status().peers.every(({ id }) => id !== peer.id), LONG_MS);
  }
  throw new Error(`${CLIENTS_MAX} clients, and none came to worker ${worker}`);
}

Deno.test("two workers: every packet of a flow arrives in its order, within a worker and across, both ways", async () => {
  await using rig = await start();
  const connector = await placed(rig, 1, "connector", "web");
  const agents = [await placed(rig, 0, "agent", "web"), await placed(rig, 1, "agent", "web")];
  const COUNT = 600, BURST = 60;
  for (let number = 0; number < COUNT; number++) {
    for (const [at, { client }] of agents.entries()) client.send(packet(1000 + at, `up${at} ${number}`));
    if (number % BURST !== BURST - 1) continue;
    await rig.until(() => agents.every((_, at) => numbers(connector.client, `up${at}`).length === number + 1), LONG_MS);
  }
  const expected = Array.from({ length: COUNT }, (_, number) => number);
  for (const at of agents.keys()) assertEquals(numbers(connector.client, `up${at}`), expected);

  // What the connector answers goes back to the agent of the flow: the same packet with its ends exchanged.
  for (let number = 0; number < BURST; number++) {
    for (const at of agents.keys()) {
      connector.client.send(udpPacket({ from: ["10.100.0.2", 53], to: ["100.64.0.1", 1000 + at] }, `down${at} ${number}`));
    }
  }
  for (const [at, { client }] of agents.entries()) {
    await rig.until(() => numbers(client, `down${at}`).length === BURST, LONG_MS);
    assertEquals(numbers(client, `down${at}`), expected.slice(0, BURST));
  }
  await rig.untilCount("relayedDatagrams", 2 * (COUNT + BURST));
  assertEquals(rig.count("relayedDatagrams"), 2 * (COUNT + BURST));
  for (const drop of ["droppedRing", "droppedQueue", "droppedPeerGone"] as const) assertEquals(rig.count(drop), 0, drop);
});

Deno.test("two workers: connections of one source are counted together, and one that ends makes room on either", async () => {
  await using rig = await start({ limits: { ...RATE_LIMITS, connections: { source: 2, all: 10 } } });
  const first = await placed(rig, 0, "agent", "web"), second = await placed(rig, 1, "agent", "web");
  await rig.untilCount("activeConnections", 2);
  const third = await rig.client(["agent.web.ztna"]);
  await rig.untilCount("limit:connections-per-source", 1);
  assert(!third.isUp);
  for (const one of [second, first]) one.client.close();
  await rig.until(() => third.isUp, LONG_MS);
  // The places of those who have gone are free again.
  third.close();
  await rig.until(() => rig.status().peersTotal === 0, LONG_MS);
  const areFree = () => rig.status().limits.find(({ name }) => name === "connections")?.used === 0;
  await rig.until(areFree, LONG_MS);
  // So are those of handshakes that come to nothing: two at a time, and often, as they come to either worker by chance.
  const foreign = await createAuthority({ commonName: "Foreign CA" });
  const identity = await foreign.issue({ commonName: "stranger", dns: ["agent.web.ztna"], eku: ["clientAuth"] });
  for (let round = 0; round < 6; round++) {
    const strangers = [rig.dial(identity), rig.dial(identity)];
    await rig.until(() => strangers.every(({ ending }) => ending !== null), LONG_MS);
    await rig.until(areFree, LONG_MS);
  }
});

Deno.test("two workers: a client whose first flight is two packets is one handshake for its source", async () => {
  const CLIENTS = 12;
  const handshakes = { ...RATE_LIMITS.handshakes, source: { perSecond: 1, burst: CLIENTS } };
  await using rig = await start({ limits: { ...RATE_LIMITS, handshakes } });
  const clients: RawClient[] = [];
  for (let i = 0; i < CLIENTS; i++) clients.push(await rig.client(["agent.web.ztna"]));
  await rig.until(() => clients.every(({ isUp }) => isUp), LONG_MS);
  await rig.pause(150);
  assertEquals(rig.count("limit:handshakes-per-source"), 0);
  const workers = new Set(rig.status().peers.map(({ id }) => rig.workerOf(id)));
  assertEquals(workers.size, WORKERS, "all of them came to one worker");
});

Deno.test("two workers: a client's rate holds whoever carries it, and is counted once", async () => {
  const registrations = { ...RATE_LIMITS.registrations, connection: { perSecond: 1, burst: 3 } };
  await using rig = await start({ limits: { ...RATE_LIMITS, registrations } });
  for (const worker of [0, 1]) {
    const { client } = await placed(rig, worker, "agent", "web");
    const before = rig.count("limit:registrations-per-connection");
    const statuses: string[] = [];
    for (let i = 0; i < 5; i++) statuses.push(await rig.register(client, "agent", "web"));
    assertEquals(statuses.slice(0, 2), ["ack", "ack"]);
    assert(statuses.includes("rate-limited"));
    const refused = statuses.filter((status) => status === "rate-limited").length;
    await rig.untilCount("limit:registrations-per-connection", before + refused);
    assertEquals(rig.count("limit:registrations-per-connection"), before + refused);
  }
});

Deno.test("two workers: what a ring cannot take is dropped and counted, control still arrives, and then all goes on", async () => {
  await using rig = await start();
  const connector = await placed(rig, 1, "connector", "web");
  const agent = await placed(rig, 0, "agent", "web");
  rig.areCarriersIdle = true;
  const large = new Uint8Array(1_100), BURST = 200;
  for (let sent = 0; rig.count("droppedRing") === 0; sent++) {
    assert(sent < 20_000, "the ring took everything");
    agent.client.send(packet(1000, large));
    if (sent % BURST === 0) await rig.until(() => agent.client.connection.engine.datagramQueueLength() === 0, LONG_MS);
  }
  rig.areCarriersIdle = false;
  agent.client.send(packet(1000, "after 0"));
  await rig.until(() => numbers(connector.client, "after").length === 1, LONG_MS);
  connector.client.close();
  await rig.until(() => rig.status().peersTotal === 1, LONG_MS);
});

Deno.test("two workers: packets to IDs that nobody has are ignored by whom they name; one in a foreign batch is passed on", async () => {
  await using rig = await start();
  const agent = await placed(rig, 1, "agent", "web"), connector = await placed(rig, 0, "connector", "web");
  const { engine, layout, reactor } = rig.world, LENGTH = 64, COUNT = 64;
  const limits = {
    receiveSlots: 4,
    receiveBatchesPerTurn: 4,
    sendTrains: 16,
    sendBufferBytes: 128 * 1024,
    kernelBufferBytes: 1024 * 1024,
  };
  const socket = new UdpSocket(reactor, layout, { address: "127.0.0.1", port: 0 }, limits, () => {}, () => {});
  const to = layout.reserve(SOCKADDR_SLOT_BYTES);
  writeSockaddr(layout.arena, to, { address: "127.0.0.1", port: rig.port() });
  /** A packet with a short header, and random behind it. */
  const write = (worker: number) => {
    const at = socket.room(LENGTH), bytes = crypto.getRandomValues(new Uint8Array(LENGTH));
    assert(at >= 0);
    bytes[0] = 0x40;
    bytes[1] = 0x40 | worker;
    assertEquals(workerOfByte(bytes[1], WORKERS), worker);
    engine.arena.bytes.set(bytes, at);
    socket.commit(LENGTH, to);
  };
  assert(LENGTH > LOCAL_CID_BYTES);
  for (let i = 0; i < COUNT; i++) {
    write(i % WORKERS);
    socket.flush();
  }
  await rig.untilCount("ignoredUnknown", COUNT);
  assertEquals(rig.count("handedOver"), 0);
  assertEquals(rig.count("ignoredForeignId"), 0);
  // One batch, which the kernel gives whole to the worker of its first packet.
  for (let i = 0; i < COUNT; i++) write(i % WORKERS);
  socket.flush();
  await rig.untilCount("ignoredUnknown", 2 * COUNT);
  assertEquals(rig.count("handedOver"), socket.gsoOff ? 0 : COUNT / 2);

  agent.client.send(packet(1000, "still 0"));
  await rig.until(() => numbers(connector.client, "still").length === 1, LONG_MS);
  socket.close();
});

Deno.test("two workers: denying, disconnecting and a revocation list reach whoever another worker carries", async () => {
  await using rig = await start();
  const place = (worker: number) => placed(rig, worker, "agent", "web");
  const gone = async ({ client }: Placed) => {
    await rig.until(() => client.ending !== null, LONG_MS);
    assertEquals(client.ending?.by, "peer");
  };
  for (const worker of [0, 1]) {
    const [denied, disconnected, stays] = [await place(worker), await place(worker), await place(worker)];
    assertEquals(rig.deny(denied.serial), 1);
    await gone(denied);
    assertEquals(rig.disconnect(disconnected.number), 1);
    await gone(disconnected);
    assertEquals(stays.client.ending, null);
    stays.client.close();
  }
  const identity = await rig.authority.issue({ commonName: "revoked", dns: ["agent.web.ztna"], eku: ["clientAuth"] });
  const clients: RawClient[] = [];
  const workersOf = () => new Set(rig.status().peers.filter(({ name }) => name === "revoked").map(({ id }) => rig.workerOf(id)));
  for (let i = 0; i < CLIENTS_MAX && workersOf().size < WORKERS; i++) {
    const client = rig.dial(identity);
    clients.push(client);
    await rig.until(
      () => client.isUp && rig.status().peers.filter(({ name }) => name === "revoked").length === clients.length,
      LONG_MS,
    );
  }
  assertEquals(workersOf().size, WORKERS);
  const { error, count } = rig.reload({ revocation: await revocation(rig.authority, [identity]) });
  assertEquals([error, count], [null, clients.length]);
  await rig.until(() => clients.every(({ ending }) => ending !== null), LONG_MS);
  // Nor does it come in again, whichever worker it meets: each has the list.
  for (let i = 0; i < 4; i++) {
    const again = rig.dial(identity);
    await rig.until(() => again.ending !== null, LONG_MS);
  }
  assertEquals(rig.status().peers.filter(({ name }) => name === "revoked"), []);
});

Deno.test("two workers: a new certificate of the server is shown to the next client, whoever carries it", async () => {
  await using rig = await start();
  const before = await placed(rig, 1, "agent", "web");
  const { certificatePem, privateKeyPem } = await rig.authority.issue({ commonName: "renewed", dns: ["renewed.example"] });
  assertEquals(rig.reload({ tls: { ...rig.plan.tls, certificatePem, keyPem: privateKeyPem } }).error, null);
  // Only the new one has this name.
  for (const worker of [0, 1]) await placed(rig, worker, "agent", "web", { serverName: "renewed.example" });
  assert(before.client.isUp, "who was connected stays");
});
