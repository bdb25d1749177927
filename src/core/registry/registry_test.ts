/** Registration, pools and choice of connectors, as the relay sees them. */
import { assert, assertEquals, assertNotEquals } from "@std/assert";
import {
  type ConnectorOptions,
  formatRefusal,
  type PeerRole,
  type RefusalReason,
  type RegistrationOutcome,
  Registry,
  REGISTRY_LIMITS,
  ROLE_TABLE,
} from "./mod.ts";

function connector(identity: string | null, changes: Partial<ConnectorOptions> = {}): ConnectorOptions {
  return { identity, label: `conn-${identity}`, takesStreams: true, ...changes };
}

function refusal(outcome: RegistrationOutcome): [number, RefusalReason] | null {
  return outcome.kind === "refused" ? [outcome.status, outcome.why] : null;
}

function serviceOf(outcome: RegistrationOutcome): number {
  assert(outcome.kind === "registered");
  return outcome.service;
}

const bytes = (text: string) => new TextEncoder().encode(text);

Deno.test("every role x event, in the table and in the registry", () => {
  const rows: string[] = [];
  for (const role of ["none", "agent", "connector"] as const) {
    for (const event of ["agent", "connector", "close"] as const) {
      const registry = new Registry();
      if (role === "agent") registry.registerAgent(1, "web");
      if (role === "connector") registry.registerConnector(1, "web", connector("a"), 0);
      let seen: PeerRole | null;
      if (event === "close") {
        registry.unregister(1);
        seen = registry.roleOf(1);
      } else {
        const outcome = event === "agent"
          ? registry.registerAgent(1, "db")
          : registry.registerConnector(1, "db", connector("a"), 0);
        seen = outcome.kind === "refused" ? null : registry.roleOf(1);
        if (outcome.kind === "refused") assertEquals(refusal(outcome), [0x02, "other-role"]);
      }
      assertEquals(seen, ROLE_TABLE[role][event]);
      rows.push(`${role} + ${event} = ${seen ?? "refused"}`);
    }
  }
  assertEquals(rows, [
    "none + agent = agent",
    "none + connector = connector",
    "none + close = none",
    "agent + agent = agent",
    "agent + connector = refused",
    "agent + close = none",
    "connector + agent = refused",
    "connector + connector = connector",
    "connector + close = none",
  ]);
});

Deno.test("an agent is an agent for what it registered, until it is gone", () => {
  const registry = new Registry();
  registry.registerAgent(1, "web");
  assertEquals(registry.isAgentForService(1, "web"), true);
  assertEquals(registry.isAgentForService(1, "db"), false);
  assertEquals(registry.isAgentForService(2, "web"), false);
  assertEquals(registry.unregister(1), { role: "agent", services: ["web"], orphaned: [] });
  assertEquals(registry.isAgentForService(1, "web"), false);
});

Deno.test("a connector is not an agent for its service", () => {
  const registry = new Registry();
  registry.registerConnector(1, "web", connector("a"), 0);
  assertEquals(registry.isAgentForService(1, "web"), false);
});

Deno.test("services are found by their bytes, for the right connection and role only", () => {
  const registry = new Registry();
  const web = serviceOf(registry.registerAgent(1, "web"));
  const db = serviceOf(registry.registerAgent(1, "db"));
  const frame = bytes("??webdb");
  assertEquals(registry.serviceAt(1, "agent", frame, 2, 3), web);
  assertEquals(registry.serviceAt(1, "agent", frame, 5, 2), db);
  assertEquals(registry.serviceAt(1, "agent", frame, 2, 2), -1);
  assertEquals(registry.serviceAt(1, "agent", frame, 5, 3), -1);
  assertEquals(registry.serviceAt(1, "connector", frame, 2, 3), -1);
  assertEquals(registry.serviceAt(2, "agent", frame, 2, 3), -1);
  assertEquals(new TextDecoder().decode(registry.serviceIdBytes(web) ?? bytes("")), "web");
});

Deno.test("registering again is acknowledged again and changes nothing", () => {
  const registry = new Registry();
  const first = registry.registerAgent(1, "web");
  assertEquals(registry.registerAgent(1, "web"), { ...first, isNew: false } as RegistrationOutcome);
  registry.registerConnector(2, "web", connector("a"), 0);
  const epoch = registry.epoch;
  const again = registry.registerConnector(2, "web", connector("a"), 1);
  assert(again.kind === "registered" && !again.isNew && again.replaced === null);
  assertEquals([registry.epoch, registry.servicesOf(2)], [epoch, ["web"]]);
});

Deno.test("packets that name no service go to the one registered first", () => {
  const registry = new Registry();
  const b = serviceOf(registry.registerAgent(1, "b"));
  registry.registerAgent(1, "a");
  assertEquals([registry.implicitService(1), registry.servicesOf(1)], [b, ["b", "a"]]);
  assertEquals(registry.implicitService(2), -1);
});

Deno.test("malformed service ids are refused, legacy ones on request taken", () => {
  for (const id of ["", "Web", "-web", "we b", "web\n", "x".repeat(64), "\ud800"]) {
    assertEquals(refusal(new Registry().registerAgent(1, id)), [0x01, "invalid-service-id"], id);
  }
  assertEquals(new Registry({ allowLegacyServiceIds: true }).registerAgent(1, "Web App").kind, "registered");
});

Deno.test("connectors of different identities form a pool", () => {
  const registry = new Registry();
  const web = serviceOf(registry.registerConnector(1, "web", connector("a"), 0));
  assertEquals(serviceOf(registry.registerConnector(2, "web", connector("b"), 0)), web);
  const picks = [0, 1, 2, 3].map(() => registry.connectorForFlow(web, -1));
  assertEquals([...picks].sort(), [1, 1, 2, 2]);
});

Deno.test("a flow keeps its connector until that one goes away", () => {
  const registry = new Registry();
  const web = serviceOf(registry.registerConnector(1, "web", connector("a"), 0));
  registry.registerConnector(2, "web", connector("b"), 0);
  for (let i = 0; i < 5; i++) assertEquals(registry.connectorForFlow(web, 2), 2);
  const epoch = registry.epoch;
  registry.unregister(2);
  assertNotEquals(registry.epoch, epoch);
  assertEquals(registry.connectorForFlow(web, 2), 1);
  registry.registerAgent(9, "web");
  assertEquals(registry.unregister(1).orphaned, ["web"]);
  assertEquals(registry.connectorForFlow(web, 1), -1);
});

Deno.test("an unhealthy connector is used only when no other is left", () => {
  const registry = new Registry();
  const web = serviceOf(registry.registerConnector(1, "web", connector("a"), 0));
  registry.registerConnector(2, "web", connector("b"), 0);
  registry.setHealthy(1, false);
  assertEquals([1, 2, 3].map(() => registry.connectorForFlow(web, 1)), [2, 2, 2]);
  assertEquals(registry.connectorForStream(web), { kind: "connector", peer: 2 });
  registry.setHealthy(2, false);
  assertEquals([registry.connectorForFlow(web, 1), registry.connectorForFlow(web, 2)], [1, 2]);
  registry.setHealthy(1, true);
  assertEquals(registry.connectorForFlow(web, 2), 1);
});

Deno.test("a new stream goes to the connector with the fewest open ones", () => {
  const registry = new Registry();
  const web = serviceOf(registry.registerConnector(1, "web", connector("a"), 0));
  registry.registerConnector(2, "web", connector("b"), 0);
  registry.streamOpened(1);
  registry.streamOpened(1);
  registry.streamOpened(2);
  assertEquals(registry.connectorForStream(web), { kind: "connector", peer: 2 });
  registry.streamClosed(1);
  registry.streamClosed(1);
  registry.streamClosed(1);
  assertEquals(registry.connectorForStream(web), { kind: "connector", peer: 1 });
  assertEquals(registry.connectorForStream(web, (peer) => peer === 1), { kind: "connector", peer: 2 });
  assertEquals(registry.connectorForStream(web, () => true), { kind: "no-connector" });
});

Deno.test("streams never go to a ztna-v1 connector", () => {
  const registry = new Registry();
  const web = serviceOf(registry.registerConnector(1, "web", connector("a", { takesStreams: false }), 0));
  assertEquals(registry.connectorForStream(web), { kind: "datagram-only" });
  registry.registerConnector(2, "web", connector("b"), 0);
  registry.setHealthy(2, false);
  for (let i = 0; i < 3; i++) assertEquals(registry.connectorForStream(web), { kind: "connector", peer: 2 });
  assertEquals(registry.connectorForStream(web, (peer) => peer === 2), { kind: "datagram-only" });
});

Deno.test("a service that only agents know has no connector", () => {
  const registry = new Registry();
  const web = serviceOf(registry.registerAgent(1, "web"));
  assertEquals([registry.connectorForStream(web), registry.connectorForFlow(web, -1)], [{ kind: "no-connector" }, -1]);
  assertEquals(registry.connectorForStream(12345), { kind: "no-connector" });
});

Deno.test("the same identity replaces its older connection, with the log's words", () => {
  const registry = new Registry();
  const web = serviceOf(registry.registerConnector(1, "web", connector("a", { label: "old" }), 0));
  registry.registerConnector(1, "db", connector("a", { label: "old" }), 0);
  const outcome = registry.registerConnector(2, "web", connector("a", { label: "new" }), 1);
  assertEquals(outcome, {
    kind: "registered",
    service: web,
    isNew: true,
    replaced: {
      service: "web",
      oldPeer: 1,
      newPeer: 2,
      message: "Connector replacement: service 'web' was old, now new",
    },
  });
  assertEquals([registry.connectorForFlow(web, 1), registry.connectorServices(2)], [2, [web]]);
  assertEquals([registry.servicesOf(1), registry.servicesOf(2)], [["db"], ["web"]]);
});

Deno.test("the end of the replaced connection does not touch the newer one", () => {
  const registry = new Registry();
  const web = serviceOf(registry.registerConnector(1, "web", connector("a"), 0));
  registry.registerConnector(2, "web", connector("a"), 1);
  assertEquals(registry.unregister(1), { role: "connector", services: [], orphaned: [] });
  assertEquals(registry.connectorForFlow(web, -1), 2);
});

Deno.test("two connections that keep replacing each other: the older stays", () => {
  const registry = new Registry();
  registry.registerConnector(1, "web", connector("a"), 0);
  const outcomes = [2, 1, 2, 1].map((peer, i) => refusal(registry.registerConnector(peer, "web", connector("a"), 1000 * i)));
  assertEquals(outcomes, [null, null, null, [0x03, "replacement-loop"]]);
  assertEquals(registry.servicesOf(2), ["web"]);
  assert(formatRefusal("replacement-loop").includes("one certificate per replica"));
  // Other identities join all the same, and the window ends 60 s after the first of the three.
  assertEquals(refusal(registry.registerConnector(3, "web", connector("b"), 5000)), null);
  assertEquals(refusal(registry.registerConnector(1, "web", connector("a"), 59_999)), [0x03, "replacement-loop"]);
  assertEquals(refusal(registry.registerConnector(1, "web", connector("a"), 60_000)), null);
});

Deno.test("what was taken from a dead connection counts for nothing", () => {
  const registry = new Registry();
  for (let peer = 1; peer <= 9; peer++) {
    assertEquals(refusal(registry.registerConnector(peer, "web", connector("a"), peer)), null);
    // Twice, of other times and of other services: that is not it.
    for (const [service, atMs] of [["web", peer - 1], ["db", peer], ["web", peer], ["web", peer]] as const) {
      registry.forgiveReplacement(peer - 1, service, atMs);
    }
    registry.unregister(peer - 1);
  }
});

Deno.test("a connector without identity never takes a service that is served", () => {
  const registry = new Registry();
  registry.registerConnector(1, "web", connector(null), 0);
  assertEquals(refusal(registry.registerConnector(2, "web", connector(null), 0)), [0x03, "taken"]);
  assertEquals(refusal(registry.registerConnector(3, "web", connector("a"), 0)), null);
  registry.unregister(1);
  assertEquals(refusal(registry.registerConnector(2, "web", connector(null), 0)), [0x03, "taken"]);
  registry.unregister(3);
  assertEquals(refusal(registry.registerConnector(2, "web", connector(null), 0)), null);
});

Deno.test("takeover without identity only on request, and not from an authenticated connector", () => {
  const registry = new Registry({ allowConnectorTakeover: true });
  registry.registerConnector(1, "web", connector(null), 0);
  const outcome = registry.registerConnector(2, "web", connector(null), 0);
  assert(outcome.kind === "registered" && outcome.replaced?.oldPeer === 1);
  registry.registerConnector(3, "db", connector("a"), 0);
  assertEquals(refusal(registry.registerConnector(4, "db", connector(null), 0)), [0x03, "taken"]);
});

Deno.test("connections of one source and of one identity share their services, and others have their own", () => {
  const limits = { ...REGISTRY_LIMITS, servicesPerSourceMax: 3, servicesPerIdentityMax: 2 };
  const registry = new Registry({ limits });
  registry.registerAgent(1, "a", "greedy", "here");
  registry.registerAgent(2, "b", "greedy", "here");
  assertEquals(refusal(registry.registerAgent(3, "c", "greedy", "there")), [0x04, "services-per-identity"]);
  assertEquals(refusal(registry.registerConnector(4, "c", connector("other", { source: "here" }), 0)), null);
  assertEquals(refusal(registry.registerAgent(5, "d", "third", "here")), [0x04, "services-per-source"]);
  assertEquals(refusal(registry.registerAgent(5, "d", "third", "there")), null);
  assertEquals(refusal(registry.registerAgent(2, "b", "greedy", "here")), null, "what it has it may say again");
  registry.unregister(1);
  assertEquals(refusal(registry.registerAgent(3, "c", "greedy", "there")), null);
  // Without an identity the source stands for it.
  registry.registerAgent(6, "e", null, "anonymous");
  registry.registerAgent(7, "f", null, "anonymous");
  assertEquals(refusal(registry.registerAgent(8, "g", null, "anonymous")), [0x04, "services-per-identity"]);
  assertEquals([registry.agentShare(6) === registry.agentShare(7), registry.agentShare(3)], [true, "greedy"]);
});

Deno.test("a service that a newer connection took over is not counted twice", () => {
  const registry = new Registry({ limits: { ...REGISTRY_LIMITS, servicesPerIdentityMax: 2 } });
  for (let peer = 1; peer <= 20; peer++) {
    assertEquals(refusal(registry.registerConnector(peer, "a", connector("one"), peer * 100_000)), null);
    if (peer > 1) registry.unregister(peer - 1);
  }
  assertEquals(refusal(registry.registerConnector(20, "b", connector("one"), 3_000_000)), null);
});

Deno.test("every bound holds and leaves nothing behind", () => {
  const limits = { ...REGISTRY_LIMITS, servicesPerPeerMax: 2, servicesMax: 3, peersMax: 3, connectorsPerServiceMax: 1 };
  const registry = new Registry({ limits });
  registry.registerAgent(1, "a");
  registry.registerAgent(1, "b");
  assertEquals(refusal(registry.registerAgent(1, "c")), [0x04, "services-per-connection"]);
  assertEquals(refusal(registry.registerAgent(1, "a")), null);
  registry.registerConnector(2, "c", connector("a"), 0);
  assertEquals(refusal(registry.registerAgent(3, "d")), [0x04, "services-in-all"]);
  assertEquals(refusal(registry.registerConnector(3, "c", connector("b"), 0)), [0x04, "pool-full"]);
  assertEquals(registry.roleOf(3), "none");
  registry.registerAgent(3, "a");
  assertEquals(refusal(registry.registerAgent(4, "a")), [0x04, "peers-in-all"]);
  assertEquals(registry.services().map(({ id, agents, connectors }) => [id, agents, connectors.length]), [
    ["a", 2, 0],
    ["b", 1, 0],
    ["c", 0, 1],
  ]);
  for (const peer of [1, 2, 3, 4]) registry.unregister(peer);
  assertEquals(registry.services(), []);
});

Deno.test("a service's number is never given to another service, and is kept for its return", () => {
  const registry = new Registry();
  const web = serviceOf(registry.registerAgent(1, "web"));
  registry.unregister(1);
  assertEquals([registry.serviceId(web), registry.serviceNumber("web")], [null, -1]);
  assertNotEquals(serviceOf(registry.registerAgent(1, "db")), web);
  assertEquals(serviceOf(registry.registerAgent(1, "web")), web);
});

Deno.test("a connector that withdrew keeps its flows and gets nothing new, until it registers again", () => {
  const registry = new Registry();
  const web = serviceOf(registry.registerConnector(1, "web", connector("a"), 0));
  assert(!registry.withdraw(2, "web"), "it does not serve it");
  assert(!registry.withdraw(1, "db"), "nobody serves it");
  const before = registry.epoch;
  assert(registry.withdraw(1, "web"));
  assertNotEquals(registry.epoch, before);
  assertEquals(registry.connectorForStream(web), { kind: "no-connector" });
  assertEquals([registry.connectorForFlow(web, -1), registry.connectorForFlow(web, 1), registry.connectorFor("web")], [-1, 1, -1]);
  assertEquals(registry.connectorServices(1), [web], "its packets still find their way back");
  assertEquals(registry.services().map(({ connectors }) => connectors.length), [0]);
  registry.registerConnector(2, "web", connector("b"), 0);
  assertEquals([registry.connectorForFlow(web, -1), registry.connectorForFlow(web, 1)], [2, 1]);
  const back = registry.registerConnector(1, "web", connector("a"), 0);
  assertEquals(back, { kind: "registered", service: web, isNew: false, replaced: null });
  assertEquals(registry.connectorServices(1), [web]);
  assertEquals(registry.services()[0]?.connectors.length, 2);
});
