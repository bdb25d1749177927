/** What a long run is, and what it says at its end. */

export interface Soak {
  readonly name: string;
  /** One line: what is done and what must hold. */
  readonly about: string;
  /** How long it usually takes at scale 1, for a person: `8 min`. */
  readonly usual: string;
  readonly run: (run: SoakRun) => Promise<void>;
}

/** What a run is told, and where it puts what it finds. */
export interface SoakRun {
  /** The amounts of the long form are multiplied by it: 0.01 is a short form. */
  readonly scale: number;
  /** A line about how far it is. */
  readonly say: (words: string) => void;
  /** A figure of the report. */
  readonly figure: (label: string, value: number, unit: string) => void;
  /** Something that must hold. */
  readonly check: (label: string, isOk: boolean, detail: string) => void;
}

export interface SoakReport {
  readonly name: string;
  readonly scale: number;
  readonly isOk: boolean;
  readonly seconds: number;
  readonly figures: readonly { readonly label: string; readonly value: number; readonly unit: string }[];
  readonly checks: readonly { readonly label: string; readonly isOk: boolean; readonly detail: string }[];
}

/** Runs it to its end. A run that throws has failed, with the error as its last check. */
export async function runSoak(soak: Soak, scale: number, say: (words: string) => void): Promise<SoakReport> {
  const figures: SoakReport["figures"][number][] = [], checks: SoakReport["checks"][number][] = [];
  const begin = performance.now();
  try {
    await soak.run({
      scale,
      say,
      figure: (label, value, unit) => figures.push({ label, value, unit }),
      check: (label, isOk, detail) => checks.push({ label, isOk, detail }),
    });
  } catch (error) {
    checks.push({
      label: "it runs to its end",
      isOk: false,
      detail: error instanceof Error ? error.stack ?? error.message : `${error}`,
    });
  }
  const isOk = checks.length > 0 && checks.every((check) => check.isOk);
  return { name: soak.name, scale, isOk, seconds: (performance.now() - begin) / 1000, figures, checks };
}

/** The report for a person. */
export function formatReport({ name, scale, isOk, seconds, figures, checks }: SoakReport): string {
  const width = Math.max(0, ...figures.map(({ label }) => label.length));
  const number = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
  return [
    `${name}: ${isOk ? "ok" : "FAILED"}, ${number.format(seconds)} s${scale === 1 ? "" : ` at scale ${scale}`}`,
    ...figures.map(({ label, value, unit }) => `  ${label.padEnd(width)}  ${number.format(value).padStart(12)} ${unit}`),
    ...checks.map((check) => `  ${check.isOk ? "ok  " : "FAIL"} ${check.label}: ${check.detail}`),
  ].join("\n");
}
