/** The gateway of deploy/natlab: where it leads packets in a network of its own, and what it says when it cannot. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { join } from "node:path";
import { needing } from "../../tools/needs.ts";
import { runWithStubs, type Stub } from "./stub_fixture.ts";
import { ROOT, run } from "./unit_fixture.ts";

const GATEWAY = join(ROOT, "deploy", "natlab", "setup-nat.sh");
const WAIT_MS = 60_000;

const TAKES = `import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("203.0.113.1", 4433))
print("bound", flush=True)
while True:
    data, sender = s.recvfrom(100)
    s.sendto(sender[0].encode(), sender)
`;
const ASKS = `import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(1)
for _ in range(30):
    s.sendto(b"who am I", ("10.77.0.1", 4433))
    try:
        print(s.recv(100).decode())
        break
    except socket.timeout:
        pass
`;

/** Three hosts of this test's own: one in private, the gateway, one in public. */
class Hosts implements AsyncDisposable {
  readonly #prefix = `g${crypto.randomUUID().slice(0, 8)}`;
  readonly #started: Deno.ChildProcess[] = [];

  static async start(): Promise<Hosts> {
    const hosts = new Hosts();
    for (const name of ["private", "gateway", "public"]) {
      await ip("netns", "add", hosts.space(name));
      await ip("-n", hosts.space(name), "link", "set", "lo", "up");
    }
    for (
      const [name, device, own, theirs] of [["private", "lan", "10.77.0.2", "10.77.0.1"], [
        "public",
        "wan",
        "203.0.113.1",
        "203.0.113.10",
      ]]
    ) {
      const [host, gateway] = [hosts.space(name as string), hosts.space("gateway")];
      await ip("-n", gateway, "link", "add", device as string, "type", "veth", "peer", "name", "eth0", "netns", host);
      await ip("-n", gateway, "addr", "add", `${theirs}/24`, "dev", device as string);
      await ip("-n", gateway, "link", "set", device as string, "up");
      await ip("-n", host, "addr", "add", `${own}/24`, "dev", "eth0");
      await ip("-n", host, "link", "set", "eth0", "up");
    }
    return hosts;
  }

  space(name: string): string {
    return `${this.#prefix}-${name}`;
  }

  /** Starts a program at a host; it ends with the hosts at the latest. Returns it once it has said its first line. */
  async spawn(name: string, args: readonly string[], env: Readonly<Record<string, string>> = {}) {
    const all = ["netns", "exec", this.space(name), ...args];
    const child = new Deno.Command("ip", { args: all, env, stdin: "null", stdout: "piped", stderr: "inherit" }).spawn();
    this.#started.push(child);
    const reader = child.stdout.getReader();
    const late = setTimeout(() => child.kill("SIGKILL"), WAIT_MS);
    let said = "";
    for (let isOver = false; !isOver && !said.endsWith("\n");) {
      const { value, done } = await reader.read();
      said += new TextDecoder().decode(value);
      isOver = done;
    }
    clearTimeout(late);
    reader.releaseLock();
    return { child, said };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#started) {
      try {
        child.kill("SIGKILL");
      } catch {
        // It has ended.
      }
      await child.stdout.cancel();
      await child.status;
    }
    for (const name of ["private", "gateway", "public"]) await run("ip", ["netns", "delete", this.space(name)]);
  }
}

async function ip(...args: string[]): Promise<void> {
  const { code, stderr } = await run("ip", args);
  assertEquals(code, 0, `ip ${args.join(" ")}: ${stderr}`);
}

const NEEDS = { root: true, tools: ["ip", "iptables", "python3"] };

Deno.test(
  needing(
    NEEDS,
    "setup-nat.sh leads UDP 4433 to SERVER_ADDRESS under the gateway's address, and stays until it is ended",
    async () => {
      await using hosts = await Hosts.start();
      const { child, said } = await hosts.spawn("gateway", [GATEWAY, "--stay"], { SERVER_ADDRESS: "203.0.113.1" });
      assertEquals(said, "gateway: lan (private) to wan (public), restricted NAT\n");
      assertEquals((await hosts.spawn("public", ["python3", "-c", TAKES])).said, "bound\n");
      // The host in private has no route out: it dials the gateway itself.
      const asked = await run("ip", ["netns", "exec", hosts.space("private"), "python3", "-c", ASKS]);
      assertEquals(asked, { code: 0, stdout: "203.0.113.10\n", stderr: "" });
      child.kill("SIGTERM");
      assertEquals((await child.status).code, 0);
    },
  ),
);

Deno.test(needing({ root: true, tools: ["unshare", "mount"] }, "setup-nat.sh says what it cannot do, and stops there", async () => {
  const inside = (script: string) => ["/usr/bin/unshare", "--mount", "--net", "/bin/sh", "-c", `${script}exec "$@"`, "sh"];
  const addresses = (...lines: string[]): Stub => ({ stdout: lines.map((line, i) => `${i + 1}: ${line}\n`).join("") });
  const both = addresses("lan inet 10.0.0.1/24 scope global lan", "wan inet 203.0.113.10/24 scope global wan");
  const locked = "/usr/bin/mount --bind /proc/sys /proc/sys && /usr/bin/mount -o remount,ro,bind /proc/sys && ";
  for (
    const [stubs, script, words] of [
      [{ ip: { code: 1 } }, "", "ERROR: ip does not work here"],
      [
        { ip: addresses("lo inet 127.0.0.1/8 scope host lo") },
        "",
        "ERROR: no interface has an address in 10.0.0.0/8: name the private one in PRIVATE_IFACE",
      ],
      [
        { ip: addresses("lan inet 10.0.0.1/24 scope global lan") },
        "",
        "ERROR: every interface with an IPv4 address is private: name the other one in PUBLIC_IFACE",
      ],
      [{ ip: both, iptables: { code: 4 } }, "", "ERROR: iptables -w -P FORWARD DROP failed"],
      [{ ip: both, iptables: {} }, locked, "ERROR: packets are not forwarded, and /proc/sys/net/ipv4/ip_forward cannot be written"],
    ] as const
  ) {
    const { code, stderr, stdout } = await runWithStubs(GATEWAY, [], stubs, { wrapper: inside(script) });
    assertEquals([code, stdout], [1, ""], words);
    assertStringIncludes(stderr, `${words}\n`);
  }
  const symmetric = await runWithStubs(GATEWAY, [], { ip: both, iptables: {} }, {
    env: { NAT_KIND: "symmetric" },
    wrapper: inside(""),
  });
  assertEquals([symmetric.code, symmetric.stdout], [0, "gateway: lan (private) to wan (public), symmetric NAT\n"]);
  assert(symmetric.calls.includes("iptables -w -t nat -A POSTROUTING -o wan -j MASQUERADE --random-fully"));
}));

Deno.test("setup-nat.sh lets no name into a path or a rule that is not one", async () => {
  for (
    const [variable, value, words] of [
      ["PRIVATE_IFACE", "../../x", "Invalid interface name: '../../x' (must be alphanumeric)"],
      ["PUBLIC_IFACE", "eth0;id", "Invalid interface name: 'eth0;id' (must be alphanumeric)"],
      ["NAT_KIND", "open", "Invalid NAT_KIND: 'open' (must be restricted or symmetric)"],
      ["SERVER_ADDRESS", "gw.example.com", "Invalid SERVER_ADDRESS: 'gw.example.com' (must be an IPv4 address)"],
    ] as const
  ) {
    assertEquals(await run(GATEWAY, [], { env: { [variable]: value } }), { code: 1, stdout: "", stderr: `ERROR: ${words}\n` });
  }
  assertEquals((await run(GATEWAY, ["--go"])).code, 2);
});
