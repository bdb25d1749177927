/** What kustomize makes of deploy/k8s, held against the schemas of Kubernetes and against policies, by the tools for it. */
import { assert, assertEquals, assertNotEquals, assertStringIncludes } from "@std/assert";
import { join } from "node:path";
import { readManual } from "../../tools/manual_fixture.ts";
import { lackOfPackages, type PackageList, pythonEnvironment } from "../../tools/python_packages.ts";
import { findKubectl, type Manifest, OVERLAYS, parseManifests, render, renderAll } from "./kustomize_fixture.ts";
import { ROOT, run } from "./unit_fixture.ts";

const kubectl = await findKubectl();
const lack = "lack" in kubectl ? kubectl.lack : undefined;
const folder = Deno.realPathSync(Deno.makeTempDirSync({ prefix: "postern-k8s-" }));
globalThis.addEventListener("unload", () => Deno.removeSync(folder, { recursive: true }));
const rendered = "path" in kubectl ? await renderAll(kubectl.path, folder) : new Map<string, string>();

/** A test that needs what kustomize makes, and perhaps packages of Python. */
async function row(name: string, fn: () => Promise<void> | void, list?: PackageList): Promise<void> {
  const why = lack ?? (list === undefined ? undefined : await lackOfPackages(list));
  Deno.test({ name: why === undefined ? name : `${name} [needs ${list ?? "kubectl"}: ${why}]`, ignore: why !== undefined, fn });
}

function manifestsOf(name: string): Manifest[] {
  return parseManifests(Deno.readTextFileSync(rendered.get(name) ?? ""));
}

const isOwn = (manifest: Manifest) => !String(manifest.apiVersion).startsWith("cert-manager.io/");

await row("every overlay renders, with metrics and without, and each of its volumes has a source", () => {
  assertEquals(rendered.size, 2 * OVERLAYS.length);
  for (const name of rendered.keys()) {
    const manifests = manifestsOf(name);
    assertEquals(manifests.filter(({ kind }) => kind === "Secret"), []);
    for (const { metadata, spec } of manifests.filter(({ kind }) => kind === "Deployment")) {
      const pod = spec.template.spec, [container] = pod.containers;
      assertStringIncludes(container.image, "ghcr.io/postern/postern:");
      const volumes = pod.volumes.map((volume: Manifest) => volume.name).sort();
      assertEquals(container.volumeMounts.map((mount: Manifest) => mount.name).sort(), volumes, metadata.name);
      const own = pod.volumes.find((volume: Manifest) => volume.name === "config").configMap.name;
      assert(manifests.some((other) => other.kind === "ConfigMap" && other.metadata.name === own), own);
      assertEquals(container.env !== undefined, name.endsWith("-with-metrics"));
    }
  }
});

await row("the manual's own overlay renders, with its image and its settings", async () => {
  const [, text = ""] = /^```yaml\n(resources: [^]*?)^```$/m.exec(readManual()) ?? [];
  const own = join(folder, "manual");
  Deno.mkdirSync(own);
  const copied = text.replaceAll("../deploy/", `${"../".repeat(own.split("/").length - 1)}${ROOT.slice(1)}/deploy/`);
  Deno.writeTextFileSync(join(own, "kustomization.yaml"), copied);
  Deno.writeTextFileSync(join(own, "connector.yaml"), "server: gw.example.com\n");
  const manifests = parseManifests(await render("path" in kubectl ? kubectl.path : "", own));
  const images = manifests.filter(({ kind }) => kind === "Deployment").map(({ spec }) => spec.template.spec.containers[0].image);
  assertEquals(images, Array(2).fill("registry.example.com/postern@sha256:..."));
  const settings = manifests.find(({ kind, metadata }) => kind === "ConfigMap" && metadata.name === "postern-connector");
  assertEquals(settings.data, { "connector.yaml": "server: gw.example.com\n" });
});

await row(
  "a second connector stands beside the first: other names, another certificate, and the first one's budget for both",
  () => {
    const first = manifestsOf("connector"), second = manifestsOf("connector-second");
    const keys = (manifests: readonly Manifest[]) => new Set(manifests.map(({ kind, metadata }) => `${kind} ${metadata.name}`));
    assertEquals([...keys(second)].filter((key) => keys(first).has(key)), []);
    const pod = (manifests: readonly Manifest[]) => manifests.find(({ kind }) => kind === "Deployment").spec;
    const secret = ({ template }: Manifest) => template.spec.volumes.find(({ name }: Manifest) => name === "tls").secret.secretName;
    assertEquals([secret(pod(first)), secret(pod(second))], ["ztna-connector-tls", "ztna-connector-second-tls"]);
    assertNotEquals(pod(first).selector, pod(second).selector);
    const budgets = [...first, ...second].filter(({ kind }) => kind === "PodDisruptionBudget");
    assertEquals(budgets.length, 1);
    for (const [name, value] of Object.entries(budgets[0].spec.selector.matchLabels)) {
      for (const { template } of [pod(first), pod(second)]) assertEquals(template.metadata.labels[name], value);
    }
  },
);

await row("cert-manager makes the server's certificate by DNS-01 and renews it 30 days before its end", () => {
  const manifests = manifestsOf("cert-manager");
  const named = (kind: string, name: string) => {
    const found = manifests.find((manifest) => manifest.kind === kind && manifest.metadata.name === name);
    assert(found !== undefined, `${kind} ${name}`);
    return found.spec;
  };
  for (const which of ["prod", "staging"]) {
    const { acme } = named("Issuer", `ztna-letsencrypt-${which}`);
    assertEquals(acme.solvers.length, 1);
    assert(acme.solvers[0].dns01.route53 !== undefined);
    assertEquals(acme.server.includes("staging"), which === "staging");
  }
  const { duration, renewBefore, privateKey, usages, secretName } = named("Certificate", "ztna-intermediate-tls");
  assertEquals([duration, renewBefore, secretName], ["2160h", "720h", "ztna-intermediate-tls"]);
  assertEquals([privateKey.algorithm, privateKey.size], ["ECDSA", 256]);
  for (const usage of ["server auth", "client auth"]) assert(usages.includes(usage), usage);
  // The server's pod sees the certificate of the clients' authority and nothing else of its Secret.
  const { volumes } = named("Deployment", "postern-server").template.spec;
  const trust = volumes.find((volume: Manifest) => volume.name === "trust");
  assertEquals([trust.configMap, trust.secret.items], [undefined, [{ key: "tls.crt", path: "client-ca.crt" }]]);
});

await row("kubernetes-validate has nothing to say against any object of Kubernetes' own", async () => {
  const files: string[] = [];
  for (const name of rendered.keys()) {
    const file = `${folder}/own-${name}.json`;
    files.push(file);
    Deno.writeTextFileSync(file, manifestsOf(name).filter(isOwn).map((manifest) => JSON.stringify(manifest)).join("\n---\n"));
  }
  const env = pythonEnvironment("kubernetes");
  const good = await run("python3", ["-m", "kubernetes_validate", "--strict", ...files], { env });
  assertEquals([good.code, good.stderr], [0, ""], good.stdout);
  assertStringIncludes(good.stdout, "passed for resource deployment/postern-agent");
  // It does look: a word that Kubernetes does not know is found.
  const planted = `${folder}/planted.yaml`;
  const text = Deno.readTextFileSync(rendered.get("server") ?? "").replace("enableServiceLinks", "enableServiceLinkz");
  Deno.writeTextFileSync(planted, text);
  const bad = await run("python3", ["-m", "kubernetes_validate", "--strict", planted], { env });
  assert(bad.code !== 0 && (bad.stdout + bad.stderr).includes("enableServiceLinkz"), bad.stdout + bad.stderr);
}, "kubernetes");

await row("checkov has nothing to say, but for what is skipped with its reason beside it", async () => {
  const args = [
    "-m",
    "checkov.main",
    "--framework",
    "kubernetes",
    "--compact",
    "--quiet",
    "--skip-download",
    "--output",
    "json",
    "--file",
  ];
  const files = ["cert-manager-with-metrics", "agent-with-metrics", "connector-second-with-metrics"].map((name) =>
    rendered.get(name) ?? ""
  );
  const result = await run("python3", [...args, ...files], { env: pythonEnvironment("checkov"), cwd: ROOT });
  const { results, summary } = JSON.parse(result.stdout);
  const failed = results.failed_checks.map((check: Manifest) => `${check.check_id} ${check.resource}: ${check.check_name}`);
  assertEquals(failed, []);
  assertEquals(result.code, 0, result.stderr);
  assert(summary.passed > 200, result.stdout.slice(-400));
}, "checkov");
