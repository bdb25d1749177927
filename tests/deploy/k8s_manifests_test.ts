/** What each manifest of deploy/k8s promises, read as it lies there: no program is needed for it. */
import { assert, assertEquals } from "@std/assert";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { needing } from "../../tools/needs.ts";
import { K8S, type Manifest, manifestFiles, readManifests } from "./kustomize_fixture.ts";
import { ROOT, run } from "./unit_fixture.ts";

const ROLES = ["server", "connector", "agent"] as const;
const BINARY = join(ROOT, "dist", "postern");

const all = manifestFiles().flatMap((path) => readManifests(path).map((manifest) => ({ path, manifest })));
const ofKind = (kind: string) => all.filter(({ manifest }) => manifest.kind === kind);

function deployment(role: string): Manifest {
  return readManifests(`${K8S}/base/${role}/deployment.yaml`)[0];
}

Deno.test("every kustomization names files that are there, and every file is named by one", () => {
  const named = new Set<string>();
  for (const { path, manifest } of [...ofKind("Kustomization"), ...ofKind("Component")]) {
    const generated = (manifest.configMapGenerator ?? []).flatMap(({ files }: Manifest) => files);
    const patches = (manifest.patches ?? []).map((patch: Manifest) => patch.path);
    named.add(path);
    for (const name of [...manifest.resources ?? [], ...generated, ...patches]) {
      const file = join(dirname(path), name);
      assert(existsSync(join(ROOT, file)), `${path} names ${name}`);
      named.add(file);
    }
  }
  assertEquals(manifestFiles().filter((file) => !named.has(file)), []);
});

Deno.test("no Secret, no key and no certificate lies below deploy/k8s, nor anything that makes one of a file there", () => {
  assertEquals(ofKind("Secret"), []);
  for (const { path, manifest } of all) {
    assertEquals(manifest.secretGenerator, undefined, path);
    assert(!Deno.readTextFileSync(join(ROOT, path)).includes("-----BEGIN"), path);
  }
});

for (const role of ROLES) {
  Deno.test(`${role}: another user than root, nothing to write to, no privileges, no token, no variables of services`, () => {
    const pod = deployment(role).spec.template.spec;
    assertEquals(pod.enableServiceLinks, false);
    assertEquals(pod.automountServiceAccountToken, false);
    const { runAsNonRoot, runAsUser, runAsGroup, fsGroup, seccompProfile } = pod.securityContext;
    assertEquals([runAsNonRoot, runAsUser, runAsGroup, fsGroup], [true, 65532, 65532, 65532]);
    assertEquals(seccompProfile, { type: "RuntimeDefault" });
    assertEquals([pod.hostNetwork, pod.hostPID, pod.hostIPC, pod.initContainers], [undefined, undefined, undefined, undefined]);
    assertEquals(pod.containers.length, 1);
    const [container] = pod.containers;
    assertEquals(container.securityContext, {
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ["ALL"] },
    });
    assertEquals(container.args, [role]);
    const { requests, limits } = container.resources;
    assert(requests.cpu && requests.memory && limits.memory, "resources");
  });

  Deno.test(`${role}: probes need no shell and no port, and one that waits for its server is not restarted`, () => {
    const [container] = deployment(role).spec.template.spec.containers;
    assertEquals(container.readinessProbe.exec.command, ["/postern", "health"]);
    assertEquals(container.livenessProbe.exec.command, ["/postern", "health", "live"]);
    assertEquals(container.startupProbe.exec.command, ["/postern", "health", "live"]);
  });

  Deno.test(`${role}: what it reads comes in whole folders, which change while it runs, and can only be read`, () => {
    const pod = deployment(role).spec.template.spec;
    const [{ volumeMounts }] = pod.containers;
    for (const mount of volumeMounts) {
      assertEquals(mount.subPath, undefined);
      assertEquals(mount.readOnly, mount.name === "run" ? undefined : true, mount.name);
    }
    const tls = pod.volumes.find(({ name }: Manifest) => name === "tls");
    assertEquals(tls.secret.defaultMode, 0o400);
    const run = pod.volumes.find(({ name }: Manifest) => name === "run");
    assertEquals(run.emptyDir.medium, "Memory");
  });

  Deno.test(`${role}: it has a budget for disruptions, and a policy that lets in only what it serves`, () => {
    const { "app.kubernetes.io/instance": _, ...labels } = deployment(role).spec.selector.matchLabels;
    const [budget] = readManifests(`${K8S}/base/${role}/disruption-budget.yaml`);
    assertEquals([budget.spec.selector.matchLabels, budget.spec.minAvailable], [labels, 1]);
    const [policy] = readManifests(`${K8S}/base/${role}/network-policy.yaml`);
    assertEquals([policy.spec.podSelector.matchLabels, policy.spec.policyTypes], [labels, ["Ingress", "Egress"]]);
    const ports = (rules: Manifest) => (rules ?? []).flatMap((rule: Manifest) => rule.ports ?? []);
    const ingress = { server: [{ protocol: "UDP", port: 4433 }], connector: [], agent: [{ protocol: "TCP", port: 9000 }] }[role];
    assertEquals(ports(policy.spec.ingress), ingress);
    // The server dials nobody.
    assertEquals(policy.spec.egress === undefined, role === "server");
  });

  const needs = { files: ["dist/postern"] };
  Deno.test(needing(needs, `${role}: the program takes its settings, and finds each file of them in a volume`, async () => {
    for (const path of manifestFiles().filter((file) => file.endsWith(`/${role}.yaml`))) {
      const { code, stdout, stderr } = await run(BINARY, ["config", "check", join(ROOT, path)]);
      assertEquals([code, stderr], [0, ""], path);
      assert(stdout.includes(`ok (${role}, `), stdout);
      const folders = deployment(role).spec.template.spec.containers[0].volumeMounts.map(({ mountPath }: Manifest) => mountPath);
      for (const [, file = ""] of Deno.readTextFileSync(join(ROOT, path)).matchAll(/: (\/\S+)$/gm)) {
        assert(folders.includes(dirname(file)), `${path}: ${file}`);
      }
    }
  }));
}

Deno.test("no two pods of a connector have one certificate at the same time: the server would keep only one of them", () => {
  const { replicas, strategy } = deployment("connector").spec;
  assertEquals([replicas, strategy], [1, { type: "Recreate" }]);
  assertEquals(deployment("server").spec.replicas, 1);
});

Deno.test("under the namespace's own policy nothing connects to anything", () => {
  const [policy] = readManifests(`${K8S}/base/common/deny-all.yaml`);
  assertEquals(policy.spec, { podSelector: {}, policyTypes: ["Ingress", "Egress"] });
  const [service] = readManifests(`${K8S}/base/server/service.yaml`);
  assertEquals(service.spec.externalTrafficPolicy, "Local");
  assertEquals(service.spec.ports.map(({ protocol, port }: Manifest) => `${port}/${protocol}`), ["4433/UDP"]);
});
