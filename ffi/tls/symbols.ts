/**
 * The C functions of the TLS end, one row each, with their C parameters beside them. Handles are bigints; bytes are given as
 * `buffer`, since they lie in many places and a record costs more than the call.
 */
export const TLS_SYMBOLS = {
  postern_last_error: { parameters: ["buffer", "usize"], result: "i32" }, // out, cap
  postern_cert_summary: { parameters: ["buffer", "usize", "buffer", "usize"], result: "i32" }, // der, der_len, out, cap

  // Returns the context's address, 0n with the words in postern_last_error.
  postern_tls_context_new: {
    // certificate, key, trust, crl, groups, protocols: each with its length; flags
    parameters: [
      "buffer",
      "usize",
      "buffer",
      "usize",
      "buffer",
      "usize",
      "buffer",
      "usize",
      "buffer",
      "usize",
      "buffer",
      "usize",
      "u32",
    ],
    result: "usize",
  },
  postern_tls_context_free: { parameters: ["usize"], result: "void" }, // context
  postern_tls_new: { parameters: ["usize", "buffer", "usize"], result: "usize" }, // context, name, name_len
  postern_tls_free: { parameters: ["usize"], result: "void" }, // end
  postern_tls_feed: { parameters: ["usize", "buffer", "usize"], result: "i32" }, // end, bytes, len
  postern_tls_feed_end: { parameters: ["usize"], result: "i32" }, // end
  postern_tls_drain: { parameters: ["usize", "buffer", "usize"], result: "i32" }, // end, out, cap
  postern_tls_pending: { parameters: ["usize"], result: "i32" }, // end
  postern_tls_handshake: { parameters: ["usize"], result: "i32" }, // end
  postern_tls_read: { parameters: ["usize", "buffer", "usize"], result: "i32" }, // end, out, cap
  postern_tls_write: { parameters: ["usize", "buffer", "usize"], result: "i32" }, // end, bytes, len
  postern_tls_shutdown: { parameters: ["usize"], result: "i32" }, // end
  postern_tls_error: { parameters: ["usize", "buffer", "usize"], result: "i32" }, // end, out, cap
  postern_tls_verify_error: { parameters: ["usize", "buffer", "usize"], result: "i32" }, // end, out, cap
  postern_tls_offered_cert: { parameters: ["usize", "buffer", "usize"], result: "i32" }, // end, out, cap
  postern_tls_peer_chain: { parameters: ["usize", "buffer", "usize"], result: "i32" }, // end, out, cap
  postern_tls_peer_verified: { parameters: ["usize"], result: "i32" }, // end
  postern_tls_version: { parameters: ["usize", "buffer", "usize"], result: "i32" }, // end, out, cap
  postern_tls_group: { parameters: ["usize", "buffer", "usize"], result: "i32" }, // end, out, cap
  postern_tls_cipher: { parameters: ["usize", "buffer", "usize"], result: "i32" }, // end, out, cap
  postern_tls_protocol: { parameters: ["usize", "buffer", "usize"], result: "i32" }, // end, out, cap
  postern_tls_export_key: { parameters: ["usize", "buffer", "usize", "buffer", "usize", "buffer", "usize"], result: "i32" }, // end, label, label_len, context, context_len, out, out_len
  postern_tls_alert: { parameters: ["usize", "u32"], result: "i32" }, // end, from_peer
} as const satisfies Deno.ForeignLibraryInterface;

export type TlsSymbols = Deno.StaticForeignLibraryInterface<typeof TLS_SYMBOLS>;
