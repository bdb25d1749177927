/** The image: what is in it, and what containers of it do with no writable folder, no capability and no user of the machine. */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { join } from "node:path";
import denoConfig from "../../deno.json" with { type: "json" };
import { missing, needing } from "../../tools/needs.ts";
import { sourceFiles } from "../../tools/suites.ts";
import { Gateway } from "../e2e/gateway_fixture.ts";
import { makePki } from "../e2e/pki_fixture.ts";
import { TemporaryFolder } from "../e2e/processes_fixture.ts";
import { CONFINED, IMAGE_NEEDS, ImageStore } from "./image_fixture.ts";
import { NAME_SERVER_NEEDS, NameServer } from "./name_server_fixture.ts";
import { giveAway, relayThrough } from "./relay_fixture.ts";

const { version } = denoConfig;
const IMAGE = `localhost/postern:${version}`;
/** Of all files in it. */
const BYTES_MAX = 130 * 2 ** 20;
/** What the image may hold: the program, what the loader maps, whom clients trust, and in which order names are looked up. */
const WANTED = [
  /^etc\/nsswitch\.conf$/,
  /^etc\/ssl\/certs\/ca-certificates\.crt$/,
  /^lib(64)?\/([a-z0-9_-]+\/)?(ld-linux-x86-64\.so\.2|lib(c|m)\.so\.6|lib(dl|pthread|gcc_s|rt)\.so\.\d)$/,
  /^postern$/,
];

Deno.test(
  needing(IMAGE_NEEDS, "the image holds the program and what it maps, and containers of it relay for each other", async (t) => {
    await using store = new ImageStore();
    await store.build();

    await t.step("nothing is in it but the program and what it needs, owned by root, and less than 130 MiB", async () => {
      const { code, stdout, stderr } = await store.podman("image", "mount", IMAGE);
      assertEquals(code, 0, stderr);
      const root = stdout.trim();
      const files = sourceFiles(root, () => true);
      for (const file of files) assert(WANTED.some((wanted) => wanted.test(file)), `${file} has no business in the image`);
      for (const wanted of WANTED) assert(files.some((file) => wanted.test(file)), `${wanted} is missing`);
      const stats = files.map((file) => Deno.lstatSync(join(root, file)));
      assert(
        stats.every(({ uid, gid, mode }) => uid === 0 && gid === 0 && ((mode ?? 0) & 0o7022) === 0),
        "root's, and nobody else writes",
      );
      const bytes = stats.reduce((sum, { size }) => sum + size, 0);
      assert(bytes < BYTES_MAX, `${bytes} bytes`);
    });

    await t.step("it runs as an unprivileged user and knows how it is looked after", async () => {
      const { stdout } = await store.podman("image", "inspect", IMAGE);
      const [{ Config: config, Healthcheck: health }] = JSON.parse(stdout);
      assertEquals([config.User, config.Entrypoint, config.Cmd], ["65532:65532", ["/postern"], ["--help"]]);
      assertEquals(health?.Test, ["CMD", "/postern", "health"]);
    });

    await t.step("an unpacked release gives the same layer to the bit, with no network", async () => {
      // The image's own name cannot be compared: buildah notes the names of its working containers in it.
      const layers = async () => (await store.podman("image", "inspect", "--format={{.RootFS.Layers}}", IMAGE)).stdout;
      const before = await layers();
      await store.podman("rmi", "--force", IMAGE);
      using release = new TemporaryFolder();
      await store.buildInRelease(release.path);
      assertMatch(before, /^\[sha256:[0-9a-f]{64}\]\n$/);
      assertEquals(await layers(), before);
    });

    const alone = ["run", "--rm", "--network=none", "--read-only-tmpfs=false", ...CONFINED];

    await t.step("with no network and no folder to write to it says its version", async () => {
      const { code, stdout, stderr } = await store.podman(...alone, IMAGE, "--version");
      assertEquals([code, stdout], [0, `postern ${version}\n`], stderr);
    });

    await t.step("a name is looked up with what the image holds", async () => {
      const args = [...alone, "--add-host=gateway.test:127.0.0.9", IMAGE, "doctor", "--json", "--server", "gateway.test:4433"];
      const { stdout, stderr } = await store.podman(...args);
      const { findings } = JSON.parse(stdout);
      const resolved = findings.find((one: { check: string }) => one.check === "resolve");
      assertEquals([resolved?.level, resolved?.message], ["ok", "is 127.0.0.9"], stderr);
    });

    using temporary = new TemporaryFolder();
    const folder = temporary.path;
    const { server } = await makePki(join(folder, "pki"));
    giveAway(folder);

    await t.step("with no folder to write to the native library loads: it reads a certificate", async () => {
      const args = [`--volume=${folder}:${folder}:ro`, IMAGE, "certs", "inspect", server.cert];
      const { code, stdout, stderr } = await store.podman(...alone, ...args);
      assertEquals(code, 0, stderr);
      assertStringIncludes(stdout, "localhost");
    });

    await t.step({
      name: "containers find their server by the name server of their /etc/resolv.conf",
      ignore: missing(NAME_SERVER_NEEDS) !== undefined,
      fn: async () => {
        await using names = await NameServer.start("gateway.test", "127.0.0.1");
        await using gateway = await Gateway.empty({ wrapper: (folder) => store.wrapper(IMAGE, folder, names.network) });
        giveAway(gateway.folder);
        await gateway.startServer();
        const [, port] = gateway.serverAddress.split(":");
        const { connector: files } = gateway.pki;
        // The server's certificate has the name that it has on one machine.
        const flags = [...gateway.uplinkFlags(files, `gateway.test:${port}`), "--server-name", "localhost"];
        const connector = gateway.run(["connector", "--service", "web=127.0.0.1:9", ...flags]);
        await connector.until("registered", { service: "web" });
        for (const role of [connector, gateway.server]) assertEquals((await role.stop()).code, 0, role.tail());
      },
    });

    await t.step("three containers relay a transfer, and each says that it is well", async () => {
      await relayThrough((folder) => store.wrapper(IMAGE, folder), async () => {
        for (const role of ["server", "connector", "agent"]) {
          const { code, stdout, stderr } = await store.podman("exec", `postern-${role}`, "/postern", "health");
          assertEquals(code, 0, `${role}: ${stdout}${stderr}`);
          const { code: checked, stderr: why } = await store.podman("healthcheck", "run", `postern-${role}`);
          assertEquals(checked, 0, `${role}: ${why}`);
        }
      });
    });
  }),
);
