/**
 * A volume as Kubernetes makes one of a Secret: each name is a link into `..data`, which is itself a link to a folder with all files of
 * one version. A new version comes whole, by renaming one link.
 *
 *   tls.crt ─► ..data/tls.crt      ..data ─► ..version_2      ..version_2/tls.crt
 */
import { join } from "node:path";

/** Names in the volume to their content. */
export type VolumeFiles = Readonly<Record<string, string>>;

export class Volume {
  readonly path: string;
  readonly #owner: { readonly gid: number; readonly mode: number };
  #version = 0;

  /** `gid` and `mode`: whose group the files are, and what it may do; the owner is who runs the test. */
  constructor(path: string, files: VolumeFiles, owner = { gid: Deno.gid() ?? 0, mode: 0o400 }) {
    this.path = path;
    this.#owner = owner;
    Deno.mkdirSync(path);
    Deno.chmodSync(path, 0o755);
    this.replace(files);
    for (const name of Object.keys(files)) Deno.symlinkSync(`..data/${name}`, join(path, name));
  }

  file(name: string): string {
    return join(this.path, name);
  }

  /** Puts another version in the place of the whole content, as the kubelet does when the Secret has changed. */
  replace(files: VolumeFiles): void {
    const before = this.#version;
    const folder = `..version_${++this.#version}`;
    Deno.mkdirSync(join(this.path, folder));
    Deno.chmodSync(join(this.path, folder), 0o755);
    for (const [name, text] of Object.entries(files)) {
      const file = join(this.path, folder, name);
      Deno.writeTextFileSync(file, text);
      Deno.chownSync(file, null, this.#owner.gid);
      Deno.chmodSync(file, this.#owner.mode);
    }
    Deno.symlinkSync(folder, this.file("..data_tmp"));
    Deno.renameSync(this.file("..data_tmp"), this.file("..data"));
    if (before > 0) Deno.removeSync(this.file(`..version_${before}`), { recursive: true });
  }
}
