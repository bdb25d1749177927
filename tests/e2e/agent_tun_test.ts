/**
 * The agent's TUN device with the kernel's own programs: server, connector, services and agent in one network namespace, and what
 * curl, ping and dig do there leaves through the device and comes back from the service.
 */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { join, resolve } from "node:path";
import { missing, needing } from "../../tools/needs.ts";
import { linesOf } from "../../tools/test_output.ts";
import { IperfServer, runIperf } from "../bench/iperf.ts";
import { type CertificateFiles, type DevelopmentPki, makePki } from "./pki_fixture.ts";
import { RoleProcess, runPostern, TemporaryFolder } from "./processes_fixture.ts";
import { sleep } from "./tcp_fixture.ts";
import { Namespace } from "./tun_fixture.ts";

const ROOT = resolve(import.meta.dirname ?? ".", "..", "..");
const BACKENDS = join(ROOT, "tests", "e2e", "namespace_backends.ts");
const NEEDS = {
  root: true,
  tools: ["unshare", "nsenter", "ip", "ping", "curl", "dig", "python3"],
  files: ["/dev/net/tun", "dist/postern"],
};
const WEB = "10.100.0.2", WEB6 = "fd00:100::2", ECHO = "192.168.77.7", IPERF = "10.100.0.9";
const BYTES = 8 * 1024 * 1024;
/** More than all buffers on the way hold: most of it must have arrived when the sender is done. */
const IPERF_BYTES = 32 * 1024 * 1024;
const HAS_IPERF = missing({ tools: ["iperf3"] }) === undefined;

/** Everything in one namespace; what it started ends with it. */
class TunGateway implements AsyncDisposable {
  readonly host: Namespace;
  readonly ports: { readonly http: number; readonly echo: number };
  agent: RoleProcess;
  readonly #stack: AsyncDisposableStack;
  readonly #start: (args: readonly string[]) => RoleProcess;
  readonly #agentArgs: readonly string[];

  private constructor(
    host: Namespace,
    ports: { readonly http: number; readonly echo: number },
    stack: AsyncDisposableStack,
    start: (args: readonly string[]) => RoleProcess,
    agentArgs: readonly string[],
  ) {
    this.host = host;
    this.ports = ports;
    this.#stack = stack;
    this.#start = start;
    this.#agentArgs = agentArgs;
    this.agent = start(agentArgs);
  }

  static async start(): Promise<TunGateway> {
    const stack = new AsyncDisposableStack();
    try {
      const gateway = await TunGateway.#build(stack);
      await gateway.agentRegistered();
      return gateway;
    } catch (error) {
      await stack.disposeAsync();
      throw error;
    }
  }

  static async #build(stack: AsyncDisposableStack): Promise<TunGateway> {
    const folder = stack.use(new TemporaryFolder());
    const pki = await makePki(join(folder.path, "pki"));
    const connectorFiles = await pki.issue("connector-both", {
      dns: ["web", "echo", "iperf"].map((service) => `connector.${service}.ztna`),
    });
    const files = { server: pki.server, connector: connectorFiles, agent: pki.wildcardAgent };
    const host = stack.use(await Namespace.open());
    await host.run("ip", "link", "set", "lo", "up");
    const backends = stack.use(new Backends(host));
    const ports = await backends.ports();
    const start = (args: readonly string[]) =>
      stack.use(new RoleProcess(args, folder.path, {}, ["nsenter", `--net=/proc/${host.pid}/ns/net`]));
    const server = start(["server", "--bind", "127.0.0.1:0", ...certificates(pki, files.server, "")]);
    const to = ["--server", `127.0.0.1:${(await server.ports())[0]}`, "--server-name", "ztna-server"];
    const services = [`web=127.0.0.1:${ports.http}`, `echo=127.0.0.1:${ports.echo}/udp`, `iperf=127.0.0.1:${IperfServer.PORT}`];
    // A look whether iperf3 is there would be a test that it serves, and it serves one at a time.
    const flags = [...services.flatMap((service) => ["--service", service]), "--health", "iperf=off"];
    const connector = start(["connector", ...to, ...flags, ...addresses(`web=[${WEB6}]`), ...certificates(pki, files.connector)]);
    await Promise.all(["web", "echo", "iperf"].map((service) => connector.until("registered", { service })));
    const agentArgs = [
      ...["agent", ...to, "--tun", "post%d", ...addresses(`web=${WEB6}`)],
      ...certificates(pki, files.agent),
    ];
    return new TunGateway(host, ports, stack, start, agentArgs);
  }

  async agentRegistered(): Promise<void> {
    await Promise.all(["web", "echo", "iperf"].map((service) => this.agent.until("registered", { service })));
  }

  async restartAgent(): Promise<void> {
    this.agent = this.#start(this.#agentArgs);
    await this.agentRegistered();
  }

  async links(): Promise<string[]> {
    return JSON.parse(await this.host.run("ip", "-json", "link")).map(({ ifname }: { ifname: string }) => ifname);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack[Symbol.asyncDispose]();
  }
}

/** Of both services, as connector and agent say them; only how an IPv6 address is written differs. */
function addresses(web6: string): string[] {
  return [`web=${WEB}`, web6, `echo=${ECHO}`, `iperf=${IPERF}`].flatMap((address) => ["--service-ip", address]);
}

class Backends implements AsyncDisposable {
  readonly #process: Deno.ChildProcess;
  readonly #lines: AsyncGenerator<string>;

  constructor(host: Namespace) {
    this.#process = host.command(Deno.execPath(), "run", "-A", "--no-check", "--quiet", BACKENDS).spawn();
    this.#lines = linesOf(this.#process.stdout);
  }

  async ports(): Promise<{ http: number; echo: number }> {
    return JSON.parse((await this.#lines.next()).value ?? "{}");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#process.kill("SIGKILL");
    await this.#process.status;
    await this.#lines.return(undefined);
    await this.#process.stderr.cancel();
  }
}

function certificates({ caCert }: DevelopmentPki, { cert, key }: CertificateFiles, prefix = "client-"): string[] {
  return [`--${prefix}cert`, cert, `--${prefix}key`, key, "--ca-cert", caCert];
}

Deno.test(needing(NEEDS, "TUN: programs of the machine reach services by address and name, and nothing else", async (t) => {
  await using gateway = await TunGateway.start();
  const { host, ports } = gateway;
  const curl = (...args: string[]) => host.command("curl", "--silent", "--show-error", "--max-time", "60", ...args).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

  await t.step("dig: names of services are asked at the device, all others refused", async () => {
    const dig = (...words: string[]) => host.run("dig", "+tries=3", "+time=5", "@100.64.0.53", ...words);
    assertEquals((await dig("+short", "web.ztna")).trim(), WEB);
    assertEquals((await dig("+short", "ECHO.ztna")).trim(), ECHO);
    assertMatch(await dig("echo.ztna", "AAAA"), /status: NOERROR.*\n.*ANSWER: 0/);
    assertStringIncludes(await dig("mail.ztna"), "status: NXDOMAIN");
    assertStringIncludes(await dig("example.com"), "status: REFUSED");
    const said = gateway.agent.lines.filter(({ event }) => event === "tun-names-set" || event === "tun-names-not-set");
    assertEquals(said.map(({ link, server, domain }) => [link, server, domain]), [["post0", "100.64.0.53", "ztna"]]);
  });
  await t.step("curl: eight MiB down and up", async () => {
    const down = await curl(`http://${WEB}:${ports.http}/${BYTES}`);
    assertEquals([down.code, down.stdout.length], [0, BYTES], text(down.stderr));
    const path = await Deno.makeTempFile();
    await Deno.writeFile(path, new Uint8Array(BYTES));
    const up = await curl("--data-binary", `@${path}`, `http://${WEB}:${ports.http}/`);
    await Deno.remove(path);
    assertEquals([up.code, text(up.stdout)], [0, `${BYTES}`], text(up.stderr));
  });
  await t.step({
    name: HAS_IPERF ? "iperf3: 32 MiB up and down" : "iperf3 [needs iperf3]",
    ignore: !HAS_IPERF,
    fn: async () => {
      const starter = (program: string, ...args: readonly string[]) => host.command(program, ...args);
      await using _server = await IperfServer.start(starter);
      for (const way of ["up", "down"] as const) {
        const { bytes } = await runIperf(starter, IPERF, IperfServer.PORT, { connections: 2, way, bytes: IPERF_BYTES });
        assertEquals(bytes > IPERF_BYTES / 2, true, `${way}: ${bytes} bytes`);
      }
    },
  });
  await t.step("UDP and ping", async () => {
    const echoed = await host.run("python3", "-B", "-c", UDP_ECHO, ECHO, `${ports.echo}`);
    assertEquals(echoed.trim(), "20");
    assertStringIncludes(await host.run("ping", "-c", "3", "-i", "0.2", "-W", "10", WEB), " 0% packet loss");
  });
  await t.step("IPv6, once the path carries packets that are large enough", async () => {
    for (let tries = 0; tries < 100 && (await host.run("ip", "-6", "route")).includes(WEB6) === false; tries++) await sleep(100);
    const dig = await host.run("dig", "+short", "+tries=3", "+time=5", "@100.64.0.53", "web.ztna", "AAAA");
    assertEquals(dig.trim(), WEB6);
    const down = await curl(`http://[${WEB6}]:${ports.http}/${BYTES}`);
    assertEquals([down.code, down.stdout.length], [0, BYTES], text(down.stderr));
    assertStringIncludes(await host.run("ping", "-c", "2", "-i", "0.2", "-W", "10", WEB6), " 0% packet loss");
  });
  await t.step("what the kernel drops while nobody reads the device is counted", async () => {
    // Several sockets, as each may have only so much on its way.
    gateway.agent.signal("SIGSTOP");
    await host.run("python3", "-B", "-c", UDP_FLOOD, ECHO, `${ports.echo}`);
    gateway.agent.signal("SIGCONT");
    const dropped = async () => {
      const { stdout } = await runPostern(["status", "--json", "--role", "agent"], ".", {
        XDG_RUNTIME_DIR: gateway.agent.runtimeFolder,
      });
      return JSON.parse(stdout).drops.find(({ reason }: { reason: string }) => reason === "device")?.count ?? 0;
    };
    for (let tries = 0; tries < 100 && await dropped() === 0; tries++) await sleep(200);
    assert(await dropped() > 0);
  });
  await t.step("an address of no service is refused at once", async () => {
    const nobody = await curl(`http://10.100.0.99:${ports.http}/`);
    // 7: no connection; 28 would be the end of its patience.
    assertEquals(nobody.code, 7, text(nobody.stderr));
  });
  await t.step("the MTU is what the connection carries", async () => {
    const mtuNow = async (): Promise<number> => JSON.parse(await host.run("ip", "-json", "link", "show", "post0"))[0].mtu;
    const ping = (bytes: number) => host.command("ping", "-c", "1", "-W", "10", "-M", "do", "-s", `${bytes - 28}`, WEB).output();
    for (;;) {
      const mtu = await mtuNow();
      const [fits, isTooLarge] = [(await ping(mtu)).code === 0, (await ping(mtu + 1)).code !== 0];
      // The path may have been found wider meanwhile.
      if (await mtuNow() !== mtu) continue;
      assertEquals([mtu > 1_280 && mtu < 9_000, fits, isTooLarge], [true, true, true], `${mtu}`);
      break;
    }
  });
  await t.step("kill -9 leaves nothing behind, and the next agent begins anew", async () => {
    await gateway.agent.stop("SIGKILL");
    assertEquals(await gateway.links(), ["lo"]);
    assertEquals((await host.run("ip", "route")).trim(), "");
    await gateway.restartAgent();
    const again = await curl(`http://${WEB}:${ports.http}/1000`);
    assertEquals([again.code, again.stdout.length], [0, 1000], text(again.stderr));
  });
  await t.step("SIGTERM takes the device away", async () => {
    await gateway.agent.stop();
    assertEquals(await gateway.links(), ["lo"]);
  });
}));

/** Twenty datagrams to an echo, each asked for until it comes back; prints how many did. */
const UDP_FLOOD = `
import socket, sys
for i in range(40):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setblocking(False)
    for j in range(100):
        try:
            s.sendto(b"x", (sys.argv[1], int(sys.argv[2])))
        except BlockingIOError:
            break
`;

const UDP_ECHO = `
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect((sys.argv[1], int(sys.argv[2])))
s.settimeout(2)
good = 0
for i in range(20):
    for attempt in range(10):
        s.send(bytes([i]) * 700)
        try:
            while s.recv(2000) != bytes([i]) * 700:
                pass
            good += 1
            break
        except socket.timeout:
            pass
print(good)
`;
