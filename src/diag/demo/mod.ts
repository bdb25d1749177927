/**
 * `postern demo`: shows the three roles working on this machine. `demo.ts` is around it, `story.ts` its steps. `crew.ts` holds the
 * processes, whose settings are in `settings.ts` and whose logs come by `log_follower.ts`; `service.ts` is what lies behind the
 * connector, in a process of its own. `page.ts`, `transfer.ts`, `measure.ts` and `intruders.ts` are what is done through the tunnel,
 * `screen.ts` and `picture.ts` what is seen.
 */
export { type DemoOutcome, runDemo } from "./demo.ts";
export type { DemoOutput, DemoPaint } from "./screen.ts";
export { runDemoServices } from "./service.ts";
export type { DemoOptions, DemoReport } from "./story.ts";
