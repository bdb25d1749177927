/** Random histories of registrations against a plain model: nobody serves or uses what it did not register. */
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { Registry, REGISTRY_LIMITS } from "./mod.ts";

const SERVICES = ["a", "b", "c"];
const IDENTITIES = ["x", "y", null];
const PEERS = 6;

type Step =
  | { readonly kind: "agent" | "connector"; readonly peer: number; readonly service: string; readonly waitMs: number }
  | { readonly kind: "close"; readonly peer: number };

const peer = fc.integer({ min: 0, max: PEERS - 1 });
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    kind: fc.constantFrom("agent" as const, "connector" as const),
    peer,
    service: fc.constantFrom(...SERVICES),
    waitMs: fc.integer({ min: 0, max: 30_000 }),
  }),
  fc.record({ kind: fc.constant("close" as const), peer }),
);

/** Who holds what, in the plainest form: one line per registration. */
interface Held {
  readonly role: "agent" | "connector";
  readonly peer: number;
  readonly service: string;
}

Deno.test("random histories: one role, one place per identity, nothing clobbered, nothing left", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const registry = new Registry({ limits: { ...REGISTRY_LIMITS, servicesPerPeerMax: 2 } });
      let held: Held[] = [];
      let nowMs = 0;
      for (const each of steps) {
        if (each.kind === "close") {
          registry.unregister(each.peer);
          held = held.filter((one) => one.peer !== each.peer);
          continue;
        }
        nowMs += each.waitMs;
        const { kind: role, service } = each;
        const identity = IDENTITIES[each.peer % 3] ?? null;
        const outcome = role === "agent"
          ? registry.registerAgent(each.peer, service)
          : registry.registerConnector(each.peer, service, { identity, label: `${each.peer}`, takesStreams: true }, nowMs);
        if (outcome.kind === "refused") continue;
        if (outcome.replaced !== null) {
          const oldPeer = outcome.replaced.oldPeer;
          assertEquals(IDENTITIES[oldPeer % 3], identity);
          assert(identity !== null);
          held = held.filter((one) => one.peer !== oldPeer || one.service !== service);
        }
        if (!held.some((one) => one.peer === each.peer && one.service === service)) held.push({ role, peer: each.peer, service });
      }
      for (let each = 0; each < PEERS; each++) {
        const own = held.filter((one) => one.peer === each);
        assertEquals(registry.servicesOf(each), own.map((one) => one.service));
        assert(own.length <= 2);
        assert(new Set(own.map((one) => one.role)).size <= 1);
      }
      for (const service of SERVICES) {
        const number = registry.serviceNumber(service);
        const serving = held.filter((one) => one.service === service && one.role === "connector").map((one) => one.peer);
        const identities = serving.map((one) => IDENTITIES[one % 3]);
        assertEquals(new Set(identities).size, identities.length);
        const picked = registry.connectorForFlow(number, -1);
        assert(serving.length === 0 ? picked === -1 : serving.includes(picked));
        for (const current of serving) assertEquals(registry.connectorForFlow(number, current), current);
      }
      for (let each = 0; each < PEERS; each++) registry.unregister(each);
      assertEquals(registry.services(), []);
    }),
    { numRuns: 400 },
  );
});
