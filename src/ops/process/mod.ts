/**
 * The manners of a process: it gives up what it does not need before it opens anything (`harden.ts`), tells the service manager how
 * it is (`notify.ts`), and does what signals ask (`signals.ts`).
 */
export { type HardeningResult, hardenProcess } from "./harden.ts";
export { mayNeedLowPort } from "./low_port.ts";
export { openNotifier, type ServiceNotifier } from "./notify.ts";
export { listenForSignals, type SignalActions } from "./signals.ts";
