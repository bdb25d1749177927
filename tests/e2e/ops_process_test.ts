import { assert, assertEquals } from "@std/assert";
import { ofThreads } from "./threads_fixture.ts";

const CHILD = new URL("ops_child.ts", import.meta.url).pathname;
const NET_ADMIN = 12;

interface Started {
  readonly pid: number;
  readonly said: Record<string, unknown>;
  end(): Promise<void>;
}

/** Starts the child and waits for its first line. */
async function start(command: string[], args: string[]): Promise<Started> {
  const [program = "", ...before] = [
    ...command,
    Deno.execPath(),
    "run",
    "-A",
    "--no-config",
    "--no-remote",
    "--no-npm",
    CHILD,
    ...args,
  ];
  const child = new Deno.Command(program, { args: before, stdout: "piped", stderr: "inherit", env: { OPS_CHILD: "yes" } }).spawn();
  const reader = child.stdout.getReader();
  let text = "";
  while (!text.includes("\n")) {
    const { value, done } = await reader.read();
    if (done) throw new Error(`the child ended: ${text}`);
    text += new TextDecoder().decode(value);
  }
  await new Promise((resolve) => setTimeout(resolve, 300));
  const end = async () => {
    child.kill("SIGKILL");
    await reader.cancel();
    await child.status;
  };
  return { pid: child.pid, said: JSON.parse(text), end };
}

const isRoot = Deno.uid() === 0;

Deno.test({
  name: "every thread of a limited process has no capabilities and no way to new privileges",
  ignore: !isRoot,
  fn: async () => {
    const child = await start([], []);
    try {
      assertEquals(child.said, { isComplete: true, problems: [], args: [], dumpable: 0, marker: null, given: "yes" });
      assert([...Deno.readDirSync(`/proc/${child.pid}/task`)].length > 3);
      assertEquals(ofThreads(child.pid, "NoNewPrivs"), new Set(["1"]));
      for (const set of ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"]) {
        assertEquals(ofThreads(child.pid, set), new Set(["0000000000000000"]), set);
      }
      assertEquals(Deno.readTextFileSync(`/proc/${child.pid}/comm`), "postern\n");
    } finally {
      await child.end();
    }
  },
});

Deno.test({
  name: "a kept capability is kept in every thread, and only that one",
  ignore: !isRoot,
  fn: async () => {
    const child = await start([], ["net_admin"]);
    try {
      assertEquals(child.said["isComplete"], true);
      const mask = (1 << NET_ADMIN).toString(16).padStart(16, "0");
      for (const set of ["CapPrm", "CapEff", "CapBnd"]) assertEquals(ofThreads(child.pid, set), new Set([mask]), set);
    } finally {
      await child.end();
    }
  },
});

Deno.test({
  name: "an ordinary user's process cannot be traced or read by others of the same user",
  ignore: !isRoot,
  fn: async () => {
    const cache = Deno.makeTempDirSync();
    Deno.chmodSync(cache, 0o777);
    const child = await start([
      "setpriv",
      "--reuid=65534",
      "--regid=65534",
      "--clear-groups",
      "env",
      `DENO_DIR=${cache}`,
      `HOME=${cache}`,
    ], []);
    try {
      assertEquals(child.said["isComplete"], true);
      assertEquals(ofThreads(child.pid, "NoNewPrivs"), new Set(["1"]));
      assertEquals(ofThreads(child.pid, "CapEff"), new Set(["0000000000000000"]));
      assertEquals(
        Deno.statSync(`/proc/${child.pid}/environ`).uid,
        0,
        "the kernel gives the files of an undumpable process to root",
      );
      const reading = await new Deno.Command("setpriv", {
        args: ["--reuid=65534", "--regid=65534", "--clear-groups", "cat", `/proc/${child.pid}/environ`],
        stdout: "null",
        stderr: "null",
      }).output();
      assertEquals(reading.success, false);
    } finally {
      await child.end();
      Deno.removeSync(cache, { recursive: true });
    }
  },
});
