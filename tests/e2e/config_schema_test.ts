/** The JSON Schema and the examples that the binary prints, judged by a validator that nobody here wrote. */
import { join } from "node:path";
import { assert, assertEquals } from "@std/assert";
import { lackOfPackages, pythonEnvironment } from "../../tools/python_packages.ts";
import { runPostern, TemporaryFolder } from "./processes_fixture.ts";

const ROLES = ["server", "connector", "agent"] as const;
const lack = await lackOfPackages("schemathesis");

/** Reads schema and documents from its standard input; answers with whether the schema is one, and what is wrong with each document. */
const VALIDATOR = `
import json, sys, jsonschema_rs
given = json.load(sys.stdin)
jsonschema_rs.meta.validate(given["schema"])
validator = jsonschema_rs.validator_for(given["schema"])
print(json.dumps([[error.message for error in validator.iter_errors(each)] for each in given["documents"]]))
`;

async function validate(schema: unknown, documents: readonly unknown[]): Promise<string[][]> {
  const child = new Deno.Command("python3", {
    args: ["-c", VALIDATOR],
    env: pythonEnvironment("schemathesis"),
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(JSON.stringify({ schema, documents })));
  await writer.close();
  const { code, stdout, stderr } = await child.output();
  if (code !== 0) throw new Error(new TextDecoder().decode(stderr));
  return JSON.parse(new TextDecoder().decode(stdout));
}

/** Files of earlier peers, and the tree. */
const RIGHT: Readonly<Record<typeof ROLES[number], readonly unknown[]>> = {
  server: [
    { _comment: "x", port: 4433, bind_addr: "0.0.0.0", cert_path: "/c", key_path: "/k", ca_cert_path: "/ca", metrics_port: 0 },
    { security: { _comment: "x", tls: { cert_file: "/c", min_version: "1.3" }, auditing: { max_events: 10000 } } },
    { bind: ["0.0.0.0", "[::]"], metrics_acl: [{ cn: "viewer", paths: ["/healthz"] }], limits: ["connections=10"] },
  ],
  connector: [
    {
      intermediate_server: { host: "gw", port: 4433, _comment: "y" },
      services: [{ id: "echo", backend: "127.0.0.1:9999", protocol: "tcp" }, { id: "web", backend: "h:1" }],
      ca_cert: "/ca",
    },
    { server: "gw:1", service: "web=h:1" },
  ],
  agent: [{ serverHost: "gw", serverPort: 4433, verifyPeer: true, caCertPath: "/ca", forward: ["9000=web"] }],
};

const WRONG: Readonly<Record<typeof ROLES[number], readonly unknown[]>> = {
  server: [{ prot: 1 }, { port: "4433" }, { port: 70000 }, { security: { tls: { cert_fil: "x" } } }, {
    metrics_acl: [{ paths: [] }],
  }, []],
  connector: [{ services: [{ id: "a", port: 1 }] }, { verify_peer: "yes" }, { services: [{ id: "a", protocol: "sctp" }] }],
  agent: [{ forward: 5 }, { serverPort: 0 }, { forwards: [] }],
};

for (const role of ROLES) {
  Deno.test({
    name: `the schema of ${role} takes what its role takes and nothing else${lack === undefined ? "" : ` [needs ${lack}]`}`,
    ignore: lack !== undefined,
    fn: async () => {
      using folder = new TemporaryFolder();
      const printed = await runPostern(["config", "schema", role], folder.path);
      const errors = await validate(JSON.parse(printed.stdout), [...RIGHT[role], ...WRONG[role]]);
      const right = errors.slice(0, RIGHT[role].length), wrong = errors.slice(RIGHT[role].length);
      assertEquals(right, right.map(() => []));
      wrong.forEach((found, at) => assert(found.length > 0, `taken: ${JSON.stringify(WRONG[role][at])}`));
    },
  });

  Deno.test(`the example of ${role} passes the check`, async () => {
    using folder = new TemporaryFolder();
    const { stdout } = await runPostern(["config", "example", role], folder.path);
    const file = join(folder.path, `${role}.yaml`);
    Deno.writeTextFileSync(file, stdout);
    const check = await runPostern(["config", "check", file], folder.path);
    assertEquals([check.code, check.said], [0, ""], check.said);
    assert(check.stdout.startsWith(`${file}: ok (${role}, `), check.stdout);
  });
}
