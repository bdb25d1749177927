/** The TLS 1.3 end over the native library: PEM text makes a context, a context makes ends, ends turn bytes. */
export * from "./tls_end.ts";
