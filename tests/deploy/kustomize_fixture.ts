/** The manifests of deploy/k8s: as they lie there, and as kustomize renders them. */
import { join } from "node:path";
import { parseAllDocuments } from "yaml";
import { missing } from "../../tools/needs.ts";
import { lackOfPackages } from "../../tools/python_packages.ts";
import { sourceFiles } from "../../tools/suites.ts";
import { ROOT, run } from "./unit_fixture.ts";

/** A value of YAML whose shape the test knows better than the compiler. */
// deno-lint-ignore no-explicit-any
export type Manifest = any;

export const K8S = "deploy/k8s";
export const OVERLAYS = ["server", "connector", "connector-second", "agent", "cert-manager"] as const;

/** All documents of a text, none of them empty. */
export function parseManifests(text: string): Manifest[] {
  return parseAllDocuments(text).map((document) => {
    const [error] = document.errors;
    if (error !== undefined) throw error;
    return document.toJS();
  }).filter((value) => value !== null);
}

/** Every file of YAML below deploy/k8s, relative to the repository. */
export function manifestFiles(): string[] {
  return sourceFiles(ROOT, (path) => path.endsWith(".yaml"), K8S);
}

export function readManifests(path: string): Manifest[] {
  return parseManifests(Deno.readTextFileSync(join(ROOT, path)));
}

/** kubectl of this machine, or the one that is fetched; why there is none otherwise. */
export async function findKubectl(): Promise<{ readonly path: string } | { readonly lack: string }> {
  if (missing({ tools: ["kubectl"] }) === undefined) return { path: "kubectl" };
  const lack = await lackOfPackages("kubectl");
  return lack === undefined ? { path: join(ROOT, ".tools", "python_kubectl", "bin", "kubectl") } : { lack };
}

/** What kustomize makes of a folder. */
export async function render(kubectl: string, folder: string): Promise<string> {
  const { code, stdout, stderr } = await run(kubectl, ["kustomize", folder]);
  if (code !== 0) throw new Error(`kubectl kustomize ${folder}: ${stderr}`);
  return stdout;
}

/** Writes into `folder` what each overlay, and each role with the component for metrics, renders to. Returns the files. */
export async function renderAll(kubectl: string, folder: string): Promise<Map<string, string>> {
  // By the real path: resources are named relative to it.
  const base = await Deno.realPath(folder);
  const up = "../".repeat(base.split("/").length);
  const files = new Map<string, string>();
  const add = async (name: string, source: string) => {
    const file = join(folder, `${name}.yaml`);
    Deno.writeTextFileSync(file, await render(kubectl, source));
    files.set(name, file);
  };
  for (const overlay of OVERLAYS) {
    const source = join(ROOT, K8S, "overlays", overlay);
    await add(overlay, source);
    const own = join(base, `${overlay}-with-metrics`);
    Deno.mkdirSync(own);
    const at = (path: string) => join(up, path.slice(1));
    const text = `resources: ["${at(source)}"]\ncomponents: ["${at(join(ROOT, K8S, "components", "metrics"))}"]\n`;
    Deno.writeTextFileSync(join(own, "kustomization.yaml"), text);
    await add(`${overlay}-with-metrics`, own);
  }
  return files;
}
