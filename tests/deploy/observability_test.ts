/** The alert rules and Prometheus' configuration of deploy/observability, by Prometheus' own checker, and the manual that goes with them. */
import { assert, assertEquals } from "@std/assert";
import { join } from "node:path";
import { parse, stringify } from "yaml";
import { readManual } from "../../tools/manual_fixture.ts";
import { needing } from "../../tools/needs.ts";
import { K8S, type Manifest, readManifests } from "./kustomize_fixture.ts";
import { ROOT, run } from "./unit_fixture.ts";

const FOLDER = join(ROOT, "deploy", "observability");
const read = (name: string) => Deno.readTextFileSync(join(FOLDER, name));
const PROMTOOL = { tools: ["promtool"] };

const rules: Manifest[] = parse(read("alerts.yml")).groups.flatMap((group: Manifest) => group.rules);
const names: string[] = rules.map(({ alert }) => alert);

Deno.test(
  needing(PROMTOOL, "promtool takes the alert rules, and each is raised by what should raise it and by nothing else", async () => {
    for (const args of [["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yml"]]) {
      const { code, stdout, stderr } = await run("promtool", args, { cwd: FOLDER });
      assertEquals(code, 0, stdout + stderr);
    }
    const tested = parse(read("alerts_test.yml")).tests.flatMap((test: Manifest) =>
      test.alert_rule_test.map(({ alertname, exp_alerts }: Manifest) => {
        assert(exp_alerts.length > 0, alertname);
        return alertname;
      })
    );
    assertEquals(tested, names);
  }),
);

Deno.test(
  needing(
    { ...PROMTOOL, files: ["dist/postern"] },
    "promtool takes both configurations with a set that certs init makes",
    async () => {
      const folder = Deno.makeTempDirSync();
      try {
        assertEquals((await run(join(ROOT, "dist", "postern"), ["certs", "init", join(folder, "pki")])).code, 0);
        Deno.writeTextFileSync(join(folder, "alerts.yml"), read("alerts.yml"));
        for (const name of ["prometheus.yml", "prometheus-kubernetes.yml"]) {
          const config = parse(read(name).replaceAll("/etc/prometheus/postern", join(folder, "pki", "metrics")));
          const [job] = config.scrape_configs;
          // Debian builds promtool without the discovery of pods: what is found by it stands there.
          if (job.kubernetes_sd_configs !== undefined) {
            delete job.kubernetes_sd_configs;
            job.static_configs = [{ targets: ["[::1]:9090"] }];
          }
          Deno.writeTextFileSync(join(folder, name), stringify(config));
          const { code, stdout, stderr } = await run("promtool", ["check", "config", name], { cwd: folder });
          assertEquals(code, 0, stdout + stderr);
          assertEquals([job.scheme, job.tls_config.min_version, job.tls_config.insecure_skip_verify], [
            "https",
            "TLS13",
            undefined,
          ]);
        }
      } finally {
        Deno.removeSync(folder, { recursive: true });
      }
    },
  ),
);

Deno.test("in a cluster Prometheus asks for the Service of the component for metrics, and for its name in the certificate", () => {
  const [service] = readManifests(`${K8S}/components/metrics/service.yaml`);
  const [job] = parse(read("prometheus-kubernetes.yml")).scrape_configs;
  const { name, namespace } = service.metadata;
  assertEquals(job.tls_config.server_name, `${name}.${namespace}.svc`);
  assertEquals([job.kubernetes_sd_configs[0].namespaces.names, job.relabel_configs[0].regex], [[namespace], name]);
  // The listener has no others.
  assertEquals([service.spec.clusterIP, service.spec.ipFamilies], ["None", ["IPv6"]]);
});

Deno.test("every alert asks for metrics that there are, and the manual has a section of its name that says what to do", () => {
  const manual = readManual();
  const known = new Set([...manual.matchAll(/^\| `([a-z][a-z0-9_]*)` +\| (?:counter|gauge) /gm)].map((found) => found[1]));
  for (const { alert, expr, labels, annotations } of rules) {
    for (const [name] of String(expr).matchAll(/\b(?:ztna|postern|process)_[a-z0-9_]+/g)) {
      assert(known.has(name), `${alert}: ${name}`);
    }
    assert(["warning", "critical"].includes(labels.severity), alert);
    assert(annotations.summary.includes("$labels.instance"), alert);
    assertEquals(annotations.runbook, `docs/OPERATIONS.md#${alert.toLowerCase()}`);
  }
  const sections = [...manual.matchAll(/^#### (Postern[A-Z][A-Za-z]+)\n\n(.+)/gm)];
  assertEquals(sections.map((section) => section[1]), names);
});
