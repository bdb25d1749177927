/** The manners of a process: it tells the service manager how it is (`notify.ts`) and does what signals ask (`signals.ts`). */
export { openNotifier, type ServiceNotifier } from "./notify.ts";
export { listenForSignals, type SignalActions } from "./signals.ts";
