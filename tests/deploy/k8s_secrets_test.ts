/** validate-secrets.sh with a kubectl that has only what the test gives it. */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { join } from "node:path";
import { ROOT, run } from "./unit_fixture.ts";

const SCRIPT = join(ROOT, "deploy", "k8s", "validate-secrets.sh");
const CERTIFICATE = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n";
// In two pieces: the words of a key's first line stand in no file.
const KEY = ["BEGIN", "END"].map((word) => `-----${word} PRIVATE KEY-----\n`).join("AA==\n");
const WHOLE = { "tls.crt": CERTIFICATE, "tls.key": KEY };

/** Answers `get secret NAME -n NAMESPACE [-o jsonpath={.data.FIELD}]` out of files; notes what it was asked. */
const STUB = `#!/bin/sh
echo "$*" >>"$STUB_FOLDER/asked"
[ "$1 $2" = "get secret" ] || exit 64
[ ! -e "$STUB_FOLDER/away" ] || { echo 'Unable to connect to the server' >&2; exit 1; }
secret=$STUB_FOLDER/$5/$3
[ -d "$secret" ] || { echo 'Error from server (NotFound)' >&2; exit 1; }
[ "\${6:-}" = -o ] || exit 0
field=$(printf %s "\${7#jsonpath=}" | sed 's/^{\\.data\\.//; s/}$//; s/\\\\\\././')
cat "$secret/$field" 2>/dev/null || :
`;

type Secrets = Readonly<Record<string, Readonly<Record<string, string>>>>;

/** Runs the script where the namespace has these Secrets, and the cluster answers unless it is away. */
async function validate(secrets: Secrets, args: readonly string[] = [], namespace = "ztna", isAway = false) {
  const folder = Deno.makeTempDirSync();
  try {
    if (isAway) Deno.writeTextFileSync(join(folder, "away"), "");
    Deno.mkdirSync(join(folder, "bin"));
    Deno.writeTextFileSync(join(folder, "bin", "kubectl"), STUB, { mode: 0o755 });
    for (const [name, fields] of Object.entries(secrets)) {
      Deno.mkdirSync(join(folder, namespace, name), { recursive: true });
      for (const [field, text] of Object.entries(fields)) {
        Deno.writeTextFileSync(join(folder, namespace, name, field), btoa(text));
      }
    }
    const env = { PATH: `${join(folder, "bin")}:/usr/bin:/bin`, STUB_FOLDER: folder };
    return await run(SCRIPT, args, { env });
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

Deno.test("both Secrets whole: a line each, exit 0", async () => {
  assertEquals(await validate({ "ztna-intermediate-tls": WHOLE, "ztna-connector-tls": WHOLE }), {
    code: 0,
    stdout: "OK: ztna-intermediate-tls\nOK: ztna-connector-tls\nAll TLS secrets validated successfully.\n",
    stderr: "",
  });
});

Deno.test("one missing: it is named and counted, exit 1", async () => {
  const { code, stdout } = await validate({ "ztna-intermediate-tls": WHOLE });
  assertEquals(code, 1);
  assertStringIncludes(stdout, "OK: ztna-intermediate-tls\nFAIL: ztna-connector-tls: not found in namespace ztna\n");
  assertStringIncludes(stdout, "VALIDATION FAILED: 1 secret(s) missing or incomplete.\n");
});

Deno.test("a cluster that does not answer is told from a Secret that is missing, in the words of kubectl", async () => {
  assertEquals(await validate({ "ztna-agent-tls": WHOLE }, ["ztna", "ztna-agent-tls"], "ztna", true), {
    code: 1,
    stdout: "FAIL: ztna-agent-tls: kubectl cannot look in namespace ztna\nVALIDATION FAILED: 1 secret(s) missing or incomplete.\n",
    stderr: "Unable to connect to the server\n",
  });
});

Deno.test("incomplete or no PEM: what is wrong is named, and nothing of what is in them is shown", async () => {
  const { code, stdout, stderr } = await validate({
    "ztna-intermediate-tls": { "tls.crt": CERTIFICATE },
    "ztna-connector-tls": { "tls.crt": "hunter2", "tls.key": CERTIFICATE },
  });
  assertEquals([code, stderr], [1, ""]);
  assertEquals(
    stdout,
    "FAIL: ztna-intermediate-tls: missing tls.key\nFAIL: ztna-connector-tls: tls.crt is not PEM, tls.key is not PEM\n" +
      "VALIDATION FAILED: 2 secret(s) missing or incomplete.\n",
  );
});

Deno.test("another namespace and other Secrets are those that are looked at", async () => {
  const { code, stdout } = await validate({ "ztna-agent-tls": WHOLE }, ["edge", "ztna-agent-tls"], "edge");
  assertEquals([code, stdout], [0, "OK: ztna-agent-tls\nAll TLS secrets validated successfully.\n"]);
  assertEquals((await validate({ "ztna-agent-tls": WHOLE }, ["ztna", "ztna-agent-tls"], "edge")).code, 1);
});

Deno.test("a name that is none, and a machine without kubectl, are exit 2 before anything is asked", async () => {
  for (const name of ["../x", "-o", "A", "a b"]) {
    const { code, stderr } = await validate({}, [name]);
    assertEquals(code, 2);
    assertStringIncludes(stderr, `ERROR: not a name of Kubernetes: '${name}'`);
  }
  const folder = Deno.makeTempDirSync();
  try {
    for (const tool of ["env", "bash", "cat"]) Deno.symlinkSync(`/bin/${tool}`, join(folder, tool));
    const { code, stderr } = await run(SCRIPT, [], { env: { PATH: folder } });
    assertEquals([code, stderr], [2, "ERROR: kubectl is not on PATH\n"]);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});
