/** A network of its own in which a real DNS server knows one name, for containers that are given nothing but its address. */
import { run } from "./unit_fixture.ts";

export const NAME_SERVER_NEEDS = { root: true, tools: ["ip", "dnsmasq"] };

export class NameServer implements AsyncDisposable {
  readonly #namespace: string;
  readonly #process: Deno.ChildProcess;
  /** The flags of podman that put a container into the network, with this server in its /etc/resolv.conf. */
  readonly network: readonly string[];

  private constructor(namespace: string, process: Deno.ChildProcess) {
    this.#namespace = namespace;
    this.#process = process;
    this.network = [`--network=ns:/run/netns/${namespace}`, "--dns=127.0.0.1"];
  }

  /** Makes the network, which has a loopback interface only, and starts the server: `name` is at `address`, and there is no other. */
  static async start(name: string, address: string): Promise<NameServer> {
    const namespace = `postern-dns-${Deno.pid}`;
    const must = async (...args: readonly string[]) => {
      const { code, stderr } = await run("ip", args);
      if (code !== 0) throw new Error(`ip ${args.join(" ")}: ${stderr}`);
    };
    await must("netns", "add", namespace);
    await must("-n", namespace, "link", "set", "lo", "up");
    const flags = ["--no-daemon", "--no-resolv", "--no-hosts", "--conf-file=/dev/null", "--listen-address=127.0.0.1"];
    const process = new Deno.Command("ip", {
      args: ["netns", "exec", namespace, "dnsmasq", ...flags, "--bind-interfaces", "--user=", `--address=/${name}/${address}`],
      stdout: "null",
      stderr: "null",
    }).spawn();
    return new NameServer(namespace, process);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#process.kill("SIGKILL");
    await this.#process.status;
    await run("ip", ["netns", "delete", this.#namespace]);
  }
}
