/**
 * Has systemd-resolved ask a DNS server for one domain only, on one network interface: what it knows of an interface goes with it.
 * No file is edited. Where it does not run, a person is told what to set.
 */
const PROGRAM = "resolvectl";
const DECODER = new TextDecoder();

/** The commands, as a person would type them. */
export function linkDnsCommands(link: string, server: string, domain: string): string[][] {
  return [[PROGRAM, "dns", link, server], [PROGRAM, "domain", link, `~${domain}`]];
}

/** Returns null when it is done, or why it could not be. */
export async function setLinkDns(link: string, server: string, domain: string): Promise<string | null> {
  for (const [program = "", ...args] of linkDnsCommands(link, server, domain)) {
    try {
      const { success, stderr } = await new Deno.Command(program, { args, stdin: "null", stdout: "null", stderr: "piped" })
        .output();
      if (!success) return DECODER.decode(stderr).trim() || `${program} failed`;
    } catch {
      return `${program} is not there`;
    }
  }
  return null;
}
