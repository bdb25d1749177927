/**
 * The image and containers of it, in a storage of their own that is gone at the end, images, containers and all; so nothing is left on
 * the machine, and nothing there can be taken for what was built here.
 */
import { dirname, join } from "node:path";
import { sourceDate } from "../../tools/build_record.ts";
import { ROOT } from "./unit_fixture.ts";

/** Programs and rights without which there is no image here. */
export const IMAGE_NEEDS = {
  root: true,
  tools: ["buildah", "podman", "runc", "unshare"],
  files: ["dist/postern", "/usr/share/ca-certificates/mozilla"],
};

/** The limits under which a container of ours must do its work. The user is the image's own. */
export const CONFINED = [
  "--read-only",
  "--cap-drop=all",
  "--security-opt=no-new-privileges",
  "--user=65532:65532",
  // The engine's own default is more than a machine may allow.
  "--ulimit=nofile=1024:1024",
  "--ulimit=nproc=1024:1024",
];

/** A command's end. */
export interface CommandEnd {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export class ImageStore implements AsyncDisposable {
  readonly #folder = Deno.makeTempDirSync({ prefix: "postern-image-" });
  /** Variables with which buildah and podman use this storage. */
  readonly env: Readonly<Record<string, string>>;

  constructor() {
    const configuration = join(this.#folder, "storage.conf");
    const [graph, run] = ["graph", "run"].map((name) => join(this.#folder, name));
    Deno.writeTextFileSync(configuration, `[storage]\ndriver = "overlay"\ngraphroot = "${graph}"\nrunroot = "${run}"\n`);
    this.env = { CONTAINERS_STORAGE_CONF: configuration };
  }

  /** Builds the image from dist/postern; what `make image` says. */
  async build(): Promise<string> {
    const { code, stdout, stderr } = await this.command(Deno.execPath(), "run", "-A", "--no-check", "tools/image.ts");
    if (code !== 0) throw new Error(`tools/image.ts ended with ${code}: ${stderr}`);
    return stdout;
  }

  /** Builds it from what an unpacked release has, in `folder`, where there is no network. */
  async buildInRelease(folder: string): Promise<void> {
    for (const path of ["deploy/container/image.sh", "deploy/container/Containerfile"]) {
      Deno.mkdirSync(join(folder, dirname(path)), { recursive: true });
      Deno.copyFileSync(join(ROOT, path), join(folder, path));
    }
    const [binary, seconds] = [join(folder, "postern"), await sourceDate(ROOT)];
    Deno.copyFileSync(join(ROOT, "dist", "postern"), binary);
    // As tar unpacks it.
    Deno.utimeSync(binary, seconds, seconds);
    const { code, stderr } = await this.command("unshare", "--net", join(folder, "deploy/container/image.sh"));
    if (code !== 0) throw new Error(`image.sh ended with ${code}: ${stderr}`);
  }

  /** Runs podman to its end. */
  podman(...args: readonly string[]): Promise<CommandEnd> {
    return this.command("podman", "--runtime=runc", ...args);
  }

  /**
   * A command for `RoleProcess` in front of the binary: runs the same arguments in a container that is named after the role, with the
   * host's network, or another, and `folder` to read at its own place.
   */
  wrapper(image: string, folder: string, network: readonly string[] = ["--network=host"]): readonly string[] {
    const variables = Object.entries(this.env).map(([name, value]) => `${name}='${value}'`).join(" ");
    const options = [...CONFINED, "--rm", ...network, `--volume='${folder}:${folder}:ro'`, '--name="postern-$1"'].join(" ");
    return ["/bin/sh", "-c", `shift; export ${variables}; exec podman --runtime=runc run ${options} ${image} "$@"`, "sh"];
  }

  async command(program: string, ...args: readonly string[]): Promise<CommandEnd> {
    const { code, stdout, stderr } = await new Deno.Command(program, { args: [...args], cwd: ROOT, env: this.env, stdin: "null" })
      .output();
    const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
    return { code, stdout: text(stdout), stderr: text(stderr) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.podman("rm", "--all", "--force", "--time=0");
    await this.podman("image", "umount", "--all");
    await this.podman("rmi", "--all", "--force");
    // The storage's own folder stays mounted upon itself.
    await this.command("umount", join(this.#folder, "graph", "overlay"));
    Deno.removeSync(this.#folder, { recursive: true });
  }
}
