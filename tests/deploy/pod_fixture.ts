/**
 * A pod of deploy/k8s as the kubelet would run it, without one: a root file system that can only be read, the volumes of the manifest
 * where it mounts them, its user, its arguments and its probes. Only image and cgroup are missing. Needs root.
 */
import { join } from "node:path";
import { RoleProcess } from "../e2e/processes_fixture.ts";
import type { Namespace } from "../e2e/tun_fixture.ts";
import { Volume, type VolumeFiles } from "../e2e/volume_fixture.ts";
import { K8S, type Manifest, readManifests } from "./kustomize_fixture.ts";
import { ROOT, run } from "./unit_fixture.ts";

/** What pods ask of the machine. */
export const POD_NEEDS = {
  root: true,
  tools: ["unshare", "nsenter", "mount", "chroot", "ip", "curl", "python3"],
  files: ["dist/postern"],
};

export interface PodWorld {
  readonly folder: string;
  /** All pods share it. */
  readonly network: Namespace;
  /** Names to addresses, as in /etc/hosts. */
  readonly hosts: string;
  /** Secrets and ConfigMaps that there are, beside the roles' own settings. */
  readonly sources: Readonly<Record<string, VolumeFiles>>;
}

/** $1 the root, $2 the program, $3 the hosts, $4 the user; then SOURCE TARGET ro|rw for each volume, `--`, and the arguments. */
const SCRIPT = `
root=$1 program=$2 hosts=$3 user=$4
shift 4
mount -t tmpfs tmpfs "$root"
for name in usr bin lib lib64; do
  if [ -L "/$name" ]; then cp -d "/$name" "$root/$name"
  elif [ -d "/$name" ]; then mkdir "$root/$name" && mount --bind "/$name" "$root/$name"; fi
done
mkdir "$root/dev" "$root/proc" "$root/etc"
mount --rbind /dev "$root/dev"
mount --rbind /proc "$root/proc"
printf '%s' "$hosts" >"$root/etc/hosts"
touch "$root/postern" && mount --bind "$program" "$root/postern"
while [ "$1" != -- ]; do
  mkdir -p "$root$2" && mount --bind "$1" "$root$2"
  if [ "$3" = ro ]; then mount -o remount,bind,ro "$root$2"; fi
  shift 3
done
mount -o remount,ro "$root"
# Behind -- stands the program as the runner of roles names it.
shift 2
exec chroot --userspec="$user" --groups="\${user#*:}" "$root" /usr/bin/env -i /postern "$@"
`;

export class Pod implements AsyncDisposable {
  readonly role: RoleProcess;
  readonly #manifest: Manifest;
  readonly #volumes = new Map<string, Volume>();

  constructor(name: string, { folder, network, hosts, sources }: PodWorld) {
    this.#manifest = readManifests(`${K8S}/base/${name}/deployment.yaml`)[0].spec.template.spec;
    const { containers: [container], securityContext } = this.#manifest;
    const settings = {
      [`postern-${name}`]: { [`${name}.yaml`]: Deno.readTextFileSync(join(ROOT, K8S, "base", name, `${name}.yaml`)) },
    };
    const own = join(folder, name);
    Deno.mkdirSync(join(own, "root"), { recursive: true });
    const mounts = container.volumeMounts.flatMap((mount: Manifest) => {
      const volume = this.#manifest.volumes.find((one: Manifest) => one.name === mount.name);
      const source = this.#volume(join(own, mount.name), volume, { ...sources, ...settings }, securityContext.fsGroup);
      return [source, mount.mountPath, mount.readOnly === true ? "ro" : "rw"];
    });
    const user = `${securityContext.runAsUser}:${securityContext.runAsGroup}`;
    const words = [join(own, "root"), join(ROOT, "dist", "postern"), hosts, user, ...mounts, "--"];
    const enter = ["nsenter", `--net=/proc/${network.pid}/ns/net`, "unshare", "--mount", "sh", "-euc", SCRIPT, "pod", ...words];
    this.role = new RoleProcess(container.args, own, {}, enter);
  }

  /** The volume of this name, whose content a test replaces. */
  volume(name: string): Volume {
    const volume = this.#volumes.get(name);
    if (volume === undefined) throw new Error(`the pod has no volume ${name}`);
    return volume;
  }

  /** Runs a probe of the manifest in the pod and says how it ended. */
  async probe(kind: "startupProbe" | "livenessProbe" | "readinessProbe") {
    const { containers: [container], securityContext } = this.#manifest;
    const user = [`--setuid=${securityContext.runAsUser}`, `--setgid=${securityContext.runAsGroup}`];
    const enter = ["--target", `${this.role.pid}`, "--mount", "--net", "--root", "--wd", ...user];
    return await run("nsenter", [...enter, "--", ...container[kind].exec.command], { env: {}, clearEnv: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.role[Symbol.asyncDispose]();
  }

  /** Makes what a volume of the manifest is, as the kubelet does. Returns its folder. */
  #volume(path: string, volume: Manifest, sources: Readonly<Record<string, VolumeFiles>>, gid: number): string {
    if (volume.emptyDir !== undefined) {
      Deno.mkdirSync(path);
      Deno.chownSync(path, 0, gid);
      Deno.chmodSync(path, 0o2777);
      return path;
    }
    const name = volume.secret?.secretName ?? volume.configMap.name;
    const files = sources[name];
    if (files === undefined) throw new Error(`there is no ${name}`);
    // For fsGroup Kubernetes gives the files to the group, which may read them.
    this.#volumes.set(volume.name, new Volume(path, files, { gid, mode: (volume.secret?.defaultMode ?? 0o644) | 0o440 }));
    return path;
  }
}
