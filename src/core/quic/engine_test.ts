import { assert } from "@std/assert";
import type { EngineProfileOptions } from "./engine.ts";

Deno.test("nobody can build a profile without saying how the peer is verified: the compiler refuses it", () => {
  const undecided: Omit<EngineProfileOptions, "verify" | "transport"> = { side: "client", identity: null, protocols: ["ztna-v2"] };
  const transport = {} as EngineProfileOptions["transport"];
  // @ts-expect-error `verify` is missing: that this is an error is what is shown here, by `make check`.
  const profile: EngineProfileOptions = { ...undecided, transport };
  assert(!("verify" in profile));
});
