/** What the README shows is what happens: its commands are run as they stand there, its excerpt is what the demonstration says. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { createSocket } from "node:dgram";
import { join, resolve } from "node:path";
import { needing } from "../../tools/needs.ts";
import { BINARY, TemporaryFolder } from "./processes_fixture.ts";

const ROOT = resolve(import.meta.dirname ?? ".", "..", "..");
const README = Deno.readTextFileSync(join(ROOT, "README.md"));
const NEEDS = { files: ["dist/postern"], tools: ["bash", "curl", "python3"] };

/** The first block of code behind a heading that begins with these words. */
function block(words: string): string {
  const behind = README.slice(README.indexOf(words));
  return /```(?:sh)?\n([^]*?)```/.exec(behind)?.[1] ?? "";
}

function freeTcpPort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}

async function freeUdpPort(): Promise<number> {
  const socket = createSocket("udp4");
  await new Promise<void>((resolve) => socket.bind(0, "127.0.0.1", () => resolve()));
  const { port } = socket.address();
  await new Promise<void>((resolve) => socket.close(() => resolve()));
  return port;
}

Deno.test(needing(NEEDS, "README: the commands by hand work as they stand there, on other ports", async () => {
  const text = block("## By hand");
  assertEquals(text.trimEnd().split("\n").length, 10, "ten lines were promised");
  for (const port of ["8080", "9000"]) assertStringIncludes(text, port);
  using folder = new TemporaryFolder();
  Deno.symlinkSync(join(ROOT, "dist"), join(folder.path, "dist"));
  const quic = await freeUdpPort();
  const script = text.replaceAll("8080", `${freeTcpPort()}`).replaceAll("9000", `${freeTcpPort()}`);
  // What runs in the background is waited for, so that nothing is left when the shell has ended.
  const { code, stdout, stderr } = await new Deno.Command("bash", {
    args: ["-e", "-c", `${script}\nwait`],
    cwd: folder.path,
    env: {
      POSTERN_PORT: `${quic}`,
      POSTERN_SERVER: `127.0.0.1:${quic}`,
      POSTERN_BIND: "127.0.0.1",
      XDG_RUNTIME_DIR: folder.path,
      HOME: folder.path,
      NO_COLOR: "1",
    },
    stdin: "null",
  }).output();
  const said = new TextDecoder().decode(stdout);
  assertEquals(code, 0, said + new TextDecoder().decode(stderr));
  assertStringIncludes(said, "Directory listing for /");
  assertStringIncludes(said, '<a href="certs/">');
  for (const role of ["server", "connector", "agent"]) assertStringIncludes(said, `${role} is ready`);
}));

Deno.test(needing(NEEDS, "README: its excerpt is what the demonstration says, but for the numbers", async () => {
  const excerpt = block("What it says");
  assertStringIncludes(excerpt, "demo: OK");
  const { code, stdout } = await new Deno.Command(BINARY, {
    args: ["demo", "--size", "1MiB"],
    env: { NO_COLOR: "1" },
    stdin: "null",
  })
    .output();
  assertEquals(code, 0);
  const said = new TextDecoder().decode(stdout);
  assertEquals(shapeOf(excerpt), shapeOf(said));
  assert(shapeOf(said).length > 20);
}));

/** The lines without what differs from run to run; where there is no terminal a transfer has one line more. */
function shapeOf(text: string): string[] {
  return text.trimEnd().split("\n").filter((line) => !line.startsWith("  ...")).map((line) =>
    line.replace(/[0-9a-f]{16}…/g, "DIGEST").replace(/<?\d[\d.]*/g, "N").replace(/N (Gbit|Mbit)\/s/g, "N bit/s")
      .replace(/N [KMG]iB/g, "N MiB").replace(/─+/g, "─").replace(/ +/g, " ").trimEnd()
  );
}
