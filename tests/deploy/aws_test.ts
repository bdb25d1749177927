/** What stands in deploy/aws: who may reach what, what an instance does first, and that nothing in it belongs to anybody. */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { join } from "node:path";
import { parse } from "yaml";
import { needing } from "../../tools/needs.ts";
import { lackOfPackages, pythonEnvironment } from "../../tools/python_packages.ts";
import { sourceFiles } from "../../tools/suites.ts";
import { TemporaryFolder } from "../e2e/processes_fixture.ts";
import { runWithStubs } from "./stub_fixture.ts";
import { ROOT, run } from "./unit_fixture.ts";

const AWS = join(ROOT, "deploy", "aws");
const TERRAFORM = join(AWS, "terraform");
const SETTINGS = "POSTERN_SERVER=gateway.example.com:4433\nPOSTERN_SERVICE=web=10.0.1.7:80";

/** The user data as Terraform's templatefile renders it, as far as the template goes. */
function userData(values: Readonly<Record<string, string>> = {}): string {
  const all: Readonly<Record<string, string>> = {
    role: "connector",
    region: "eu-central-1",
    parameters: "/postern/connector",
    release_uri: "s3://releases.example.com/postern.tar.gz",
    release_sha256: "0".repeat(64),
    domain: "",
    settings: SETTINGS,
    ...values,
  };
  return Deno.readTextFileSync(join(AWS, "cloud-init.yaml"))
    .replaceAll(
      /\$\{indent\((\d+), (\w+)\)\}/g,
      (_, spaces, name) => all[name]?.replaceAll("\n", "\n" + " ".repeat(Number(spaces))) ?? name,
    )
    .replaceAll(/\$\{(\w+)\}/g, (found, name) => all[name] ?? found);
}

/** The file that user data writes to a path. */
function writtenFile(text: string, path: string): string {
  const files: readonly { readonly path: string; readonly content: string }[] = parse(text).write_files;
  return files.find((file) => file.path === path)?.content ?? "";
}

const lack = await lackOfPackages("checkov");
Deno.test({
  name: `checkov finds nothing in the Terraform example${lack === undefined ? "" : ` [needs checkov: ${lack}]`}`,
  ignore: lack !== undefined,
  fn: async () => {
    const look = async (folder: string) => {
      const flags = ["--framework", "terraform", "--compact", "--quiet", "--skip-download", "--output", "json"];
      const { stdout } = await run("python3", ["-m", "checkov.main", ...flags, "--directory", folder], {
        env: pythonEnvironment("checkov"),
      });
      const { results, summary } = JSON.parse(stdout);
      return { passed: summary.passed, failed: results.failed_checks.map(({ check_id }: { check_id: string }) => check_id) };
    };
    const { passed, failed } = await look(TERRAFORM);
    assertEquals(failed, []);
    assert(passed > 80, String(passed));
    // It does look: without a token for the metadata it complains.
    using folder = new TemporaryFolder();
    for (const { name } of Deno.readDirSync(TERRAFORM)) {
      const text = Deno.readTextFileSync(join(TERRAFORM, name)).replace(/http_tokens .*/, 'http_tokens = "optional"');
      Deno.writeTextFileSync(join(folder.path, name), text);
    }
    assertEquals((await look(folder.path)).failed, ["CKV_AWS_79"]);
  },
});

Deno.test(
  needing(
    { tools: ["terraform"] },
    "terraform fmt has nothing to change, and renders the user data as these tests do",
    async () => {
      assertEquals((await run("terraform", ["fmt", "-check", "-recursive", TERRAFORM])).code, 0);
      const values = {
        region: "r",
        release_uri: "u",
        release_sha256: "s",
        role: "server",
        parameters: "/p",
        domain: "'d'",
        settings: "A=1\nB=2",
      };
      const words = Object.entries(values).map(([name, value]) => `${name} = ${JSON.stringify(value)}`).join(", ");
      using folder = new TemporaryFolder();
      const console = new Deno.Command("terraform", {
        args: ["console"],
        cwd: folder.path,
        stdin: "piped",
        stdout: "piped",
        stderr: "null",
      }).spawn();
      const writer = console.stdin.getWriter();
      const expression = `jsonencode(templatefile(${JSON.stringify(join(AWS, "cloud-init.yaml"))}, { ${words} }))\n`;
      await writer.write(new TextEncoder().encode(expression));
      await writer.close();
      const rendered = JSON.parse(JSON.parse(new TextDecoder().decode((await console.output()).stdout)));
      assertEquals(rendered, userData(values));
    },
  ),
);

Deno.test("nobody may begin a connection to anything but UDP 4433 of the server, and metadata takes a token and goes one hop", () => {
  const text = sourceFiles(TERRAFORM, (path) => path.endsWith(".tf")).map((path) => Deno.readTextFileSync(join(TERRAFORM, path)))
    .join("\n");
  const ingress = text.split(/^(?=resource )/m).filter((block) => /ingress/.test(block.split("\n")[0] ?? ""));
  assertEquals(ingress.length, 1);
  for (const line of ["aws_security_group.server.id", '"udp"', "from_port         = 4433", "to_port           = 4433"]) {
    assertStringIncludes(ingress[0] ?? "", line);
  }
  // The older way, rules inside the group, is not used beside it.
  assert(!/^\s+(ingress|egress) \{/m.test(text));
  assertMatch(text, /http_tokens\s+= "required"/);
  assertMatch(text, /http_put_response_hop_limit = 1\n/);
  assertMatch(text, /root_block_device \{\s+encrypted\s+= true/);
  assert(!/private_key|tls_private_key|random_password/.test(text), "no key comes into the state");
});

Deno.test(
  needing(
    { tools: ["cloud-init", "shellcheck"] },
    "the user data is what cloud-init takes, and its script without findings",
    async () => {
      using folder = new TemporaryFolder();
      for (const role of ["server", "connector", "agent"]) {
        const file = join(folder.path, `${role}.yaml`);
        Deno.writeTextFileSync(file, userData({ role }));
        const { code, stdout, stderr } = await run("cloud-init", ["schema", "--config-file", file]);
        assertEquals(code, 0, stdout + stderr);
        assertEquals(writtenFile(userData({ role }), `/etc/postern/${role}.env`).trimEnd(), SETTINGS);
        const script = join(folder.path, "first-start.sh");
        Deno.writeTextFileSync(script, writtenFile(userData({ role }), "/usr/local/sbin/postern-first-start"));
        assertEquals(await run("shellcheck", ["--severity=style", script]), { code: 0, stdout: "", stderr: "" });
      }
      const wrong = join(folder.path, "wrong.yaml");
      Deno.writeTextFileSync(wrong, userData().replace("package_update: true", "package_update: [1]"));
      assert((await run("cloud-init", ["schema", "--config-file", wrong])).code !== 0);
    },
  ),
);

Deno.test(
  needing({ tools: ["tar", "gzip", "sha256sum"] }, "an instance starts the release that was named, and no other", async () => {
    using folder = new TemporaryFolder();
    const bootstrap = join(folder.path, "postern-1.0.0", "deploy", "aws", "bootstrap.sh");
    Deno.mkdirSync(join(bootstrap, ".."), { recursive: true });
    Deno.writeTextFileSync(bootstrap, '#!/bin/sh\nbootstrap "$@"\n', { mode: 0o755 });
    const archive = join(folder.path, "release.tar.gz");
    assertEquals(
      (await run("tar", ["--create", "--gzip", "--file", archive, "--directory", folder.path, "postern-1.0.0"])).code,
      0,
    );
    const sha256 = (await run("sha256sum", [archive])).stdout.split(" ")[0] ?? "";
    const script = join(folder.path, "first-start");
    const start = async (values: Readonly<Record<string, string>>, fetched = `cp '${archive}' "$5"`) => {
      const text = writtenFile(
        userData({ role: "server", parameters: "/p/server", ...values }),
        "/usr/local/sbin/postern-first-start",
      );
      Deno.writeTextFileSync(script, text, { mode: 0o755 });
      Deno.chmodSync(script, 0o755);
      const real = Object.fromEntries(["tar", "gzip", "sha256sum"].map((name) => [name, { script: `exec /usr/bin/${name} "$@"` }]));
      return await runWithStubs(script, [], { ...real, bootstrap: {}, aws: { script: fetched }, sleep: {} });
    };
    const good = await start({ release_sha256: sha256, domain: "'gateway.example.com' 'ops@example.com'" });
    assertEquals(good.code, 0, good.stderr);
    assertMatch(
      good.calls[0] ?? "",
      /^aws s3 cp --only-show-errors s3:\/\/releases\.example\.com\/postern\.tar\.gz \S+\/release\.tar\.gz$/,
    );
    assertEquals(good.calls.at(-1), "bootstrap server /p/server gateway.example.com ops@example.com");
    const other = await start({});
    assertEquals([other.code, other.stderr], [1, "ERROR: the release is not the one that was named by its SHA-256\n"]);
    assert(!other.calls.some((call) => call.startsWith("bootstrap")));
    const none = await start({ release_sha256: sha256 }, "exit 1");
    assertEquals([none.code, none.calls.filter((call) => call.startsWith("aws")).length], [1, 6]);
    assertStringIncludes(none.stderr, "ERROR: the release could not be fetched");
  }),
);

Deno.test("nothing in deploy is anybody's: no account, image, address or key", () => {
  const files = sourceFiles(ROOT, () => true, "deploy");
  assert(files.length > 20);
  const forbidden: readonly RegExp[] = [
    /(?<![0-9a-f])[0-9]{12}(?![0-9a-f])/, // an account
    /\b(?:ami|i|vpc|subnet|sg|eipalloc)-[0-9a-f]{8,17}\b/,
    /\b(?:AKIA|ASIA)[A-Z0-9]{16}\b/,
    /-----BEGIN [A-Z ]*PRIVATE[ ]KEY-----/,
  ];
  const documentation =
    /^(?:0\.0\.0\.0|127\.|10\.|192\.168\.|172\.(?:1[6-9]|2\d|3[01])\.|100\.(?:6[4-9]|[7-9]\d|1[01]\d|12[0-7])\.|169\.254\.|192\.0\.2\.|198\.51\.100\.|203\.0\.113\.)/;
  for (const file of files) {
    const text = Deno.readTextFileSync(join(ROOT, file));
    for (const pattern of forbidden) assert(!pattern.test(text), `${file}: ${pattern}`);
    for (const [address] of text.matchAll(/(?<![\w.])\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}(?![\w.])/g)) {
      assert(documentation.test(address), `${file}: ${address}`);
    }
  }
});

Deno.test("host keys are checked wherever somebody connects by SSH", async () => {
  const { stdout } = await run("git", [
    "grep",
    "-n",
    "-i",
    "-B",
    "3",
    "StrictHostKeyChecking[= ]*no",
    "--",
    "docs",
    "deploy",
    "README.md",
  ], {
    cwd: ROOT,
  });
  if (stdout !== "") assertStringIncludes(stdout.toUpperCase(), "WARNING");
  const manual = Deno.readTextFileSync(join(ROOT, "docs", "OPERATIONS.md"));
  assert(manual.includes("ssh-keyscan -H <host> >> ~/.ssh/known_hosts"));
});
