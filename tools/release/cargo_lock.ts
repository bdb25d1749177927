/** Reads a Cargo.lock: the text → the crates that come from a registry, with the checksums of their archives. */

/** One crate that a registry gave. */
export type LockedCrate = {
  readonly name: string;
  readonly version: string;
  /** SHA-256 of its archive, lower-case hexadecimal. */
  readonly checksum: string;
};

/** The crates of a lock file in its order. Crates of the repository itself have no checksum and are left out. */
export function lockedCrates(text: string): LockedCrate[] {
  return text.split("[[package]]").slice(1).flatMap((block) => {
    const field = (name: string) => new RegExp(`^${name} = "([^"]*)"$`, "m").exec(block)?.[1];
    const [name, version, checksum] = [field("name"), field("version"), field("checksum")];
    return name === undefined || version === undefined || checksum === undefined ? [] : [{ name, version, checksum }];
  });
}
