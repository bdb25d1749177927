/**
 * The same stack with Linux' TCP at the other end: transfers both ways on a clean and on a bad path, half-closes, resets, slow
 * readers, many at once, datagrams and ping. Needs root and a TUN device; left out otherwise.
 *
 * POSTERN_KERNEL_MB=N for larger transfers.
 */
import { assert, assertEquals } from "@std/assert";
import { needing } from "../../tools/needs.ts";
import { type Impairment, KernelBench } from "./netstack_kernel_fixture.ts";

const MB = Number(Deno.env.get("POSTERN_KERNEL_MB") ?? 8);
const BYTES = MB * 1_000_000;
const BAD: Impairment = { loss: 0.02, duplicate: 0.02, swap: 0.05 };

const NEEDS = { root: true, tools: ["unshare", "ip", "python3"], files: ["/dev/net/tun"] };

function kernelTest(name: string, run: (bench: KernelBench) => Promise<void>): void {
  Deno.test(needing(NEEDS, `netstack and the kernel: ${name}`, async () => {
    const bench = new KernelBench();
    try {
      await run(bench);
    } finally {
      await bench.close();
    }
  }));
}

/** Waits until the stack has nothing left but TIME-WAIT. */
async function settled({ stack }: KernelBench): Promise<void> {
  for (let i = 0; i < 200 && stack.sessionCount > 0; i++) await new Promise((resolve) => setTimeout(resolve, 10));
  assertEquals([stack.sessionCount, stack.bufferedBytes], [0, 0]);
}

kernelTest("uploads and downloads arrive whole, IPv4 and IPv6", async (bench) => {
  for (const v6 of [false, true]) {
    const { reply, sha256 } = await bench.job({ kind: "upload", port: 81, bytes: BYTES, v6 });
    assertEquals(reply, `${BYTES} ${sha256}`);
    const { count, same } = await bench.job({ kind: "download", port: 82, bytes: BYTES, v6 });
    assertEquals([count, same], [BYTES, true]);
  }
  await settled(bench);
});

kernelTest("both directions at once, under loss, duplication and reordering", async (bench) => {
  bench.impairment = BAD;
  const bytes = BYTES / 8;
  const { reply, sha256 } = await bench.job({ kind: "upload", port: 81, bytes });
  assertEquals(reply, `${bytes} ${sha256}`);
  const { count, same } = await bench.job({ kind: "download", port: 82, bytes });
  assertEquals([count, same], [bytes, true]);
  const echoed = await bench.job({ kind: "echo", port: 80, bytes });
  assertEquals([echoed.count, echoed.same], [bytes, true]);
  assert(bench.stack.counters.segmentsRetransmitted > 0 && bench.stack.counters.segmentsOutOfOrder > 0, "the path was bad");
});

kernelTest("two hundred connections at once", async (bench) => {
  const { good, other } = await bench.job({ kind: "many", port: 80, count: 200, bytes: 20_000 });
  assertEquals([good, other], [200, []]);
  await settled(bench);
});

kernelTest("slow readers at either end", async (bench) => {
  const [up, down] = await Promise.all([
    bench.job({ kind: "upload", port: 83, bytes: 1_000_000 }),
    bench.job({ kind: "download", port: 82, bytes: 1_000_000, slow: true, window: 8_192 }),
  ]);
  assertEquals(up.reply, `1000000 ${up.sha256}`);
  assertEquals([down.count, down.same], [1_000_000, true]);
});

kernelTest("our end first: what the other side still sends arrives", async (bench) => {
  assertEquals((await bench.job({ kind: "late", port: 84, bytes: 300_000 })).first, 3);
  await settled(bench);
  assertEquals(bench.ends, ["84 received 300000", "84 finished"]);
});

kernelTest("refusals and resets, both ways", async (bench) => {
  assertEquals((await bench.job({ kind: "wait", port: 99 })).error, "ConnectionRefusedError");
  assertEquals((await bench.job({ kind: "wait", port: 85 })).error, "ConnectionResetError");
  assertEquals((await bench.job({ kind: "reset", port: 80 })).error, undefined);
  await settled(bench);
  assertEquals(bench.ends, ["85 aborted", "80 reset"]);
});

kernelTest("datagrams, empty ones too, ping, and a port where nobody listens", async (bench) => {
  for (const v6 of [false, true]) {
    const texts = ["hello", "", "x".repeat(1_200)];
    assertEquals((await bench.job({ kind: "datagrams", port: 53, texts, v6 })).replies, texts);
    assertEquals((await bench.job({ kind: "datagrams", port: 54, texts: ["x"], v6 })).error, "ConnectionRefusedError");
    assertEquals((await bench.job({ kind: "ping", v6 })).ok, true);
  }
});
