/** The C functions that read certificates outside a connection, with their C parameters beside them. */
export const CERT_SYMBOLS = {
  postern_last_error: { parameters: ["buffer", "usize"], result: "i32" }, // out, cap
  postern_cert_summary: { parameters: ["buffer", "usize", "buffer", "usize"], result: "i32" }, // der, der_len, out, cap
  postern_pem_certificates: { parameters: ["buffer", "usize", "buffer", "usize"], result: "i32" }, // pem, pem_len, out, cap
} as const satisfies Deno.ForeignLibraryInterface;
