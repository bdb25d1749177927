/**
 * The C functions that the QUIC engine calls, one row each, with their C parameters beside them.
 *
 * Fast calls decide the types (see docs/ARCHITECTURE.md): handles, addresses and lengths are `usize` and `u64` and take
 * bigints; a plain number would cost ten times as much. Whoever passes an address keeps its memory referenced until the
 * call returns. Results that always fit are declared `i32`, though C says `ssize_t` or `uint64_t`: a 64-bit result would
 * come as a bigint and cost ten times as much, and the lower half of the register is the value for every error (-1 to -23)
 * and every length below 2^31. `tests/abi` compares each row with lib/linux-x64/postern_native.h and with the library.
 *
 * Rules that quiche sets: a slice's address is never 0, not even for length 0 (give any arena address); a socket address
 * has family AF_INET with length 16 or AF_INET6 with length 28, anything else ends the process.
 */

/** Bits of `postern_config_new`'s and `postern_tls_context_new`'s flags. */
export const ConfigFlag = {
  server: 1,
  /** A server refuses clients without a certificate; a client verifies its server. */
  peerRequired: 2,
  /** Servers only: a client may have no certificate; one that it shows must be right. */
  peerIfGiven: 4,
  /** A server asks for none; a client takes any. Without trust and CRLs. */
  peerUnverified: 8,
  /** A CRL past its next update still counts. */
  staleCrlOk: 16,
} as const;

/** `quiche_path_event_type`, in the order of quiche's enumeration. */
export const PathEventType = {
  created: 0,
  validated: 1,
  failedValidation: 2,
  closed: 3,
  reusedSourceConnectionId: 4,
  peerMigrated: 5,
  pmtuUpdated: 6,
} as const;

/** `quiche_cc_algorithm`. */
export const CongestionControl = { reno: 0, cubic: 1, bbr2_gcongestion: 4 } as const;

/** `quiche_shutdown`. */
export const ShutdownDirection = { read: 0, write: 1 } as const;

const CONFIGURATION = {
  postern_abi_version: { parameters: [], result: "u32" },
  postern_last_error: { parameters: ["usize", "usize"], result: "i32" }, // out, cap
  postern_layout: { parameters: ["usize", "usize"], result: "i32" }, // out, cap
  quiche_version: { parameters: [], result: "pointer" },

  // Returns the configuration's address, 0n with the words in postern_last_error.
  postern_config_new: {
    // certificate, key, trust, crl, groups: each with its length; flags
    parameters: ["usize", "usize", "usize", "usize", "usize", "usize", "usize", "usize", "usize", "usize", "u32"],
    result: "usize",
  },
  quiche_config_free: { parameters: ["usize"], result: "void" }, // config
  quiche_config_set_application_protos: { parameters: ["usize", "usize", "usize"], result: "i32" }, // config, protos, protos_len
  quiche_config_grease: { parameters: ["usize", "bool"], result: "void" }, // config, v
  quiche_config_discover_pmtu: { parameters: ["usize", "bool"], result: "void" }, // config, v
  quiche_config_set_max_amplification_factor: { parameters: ["usize", "usize"], result: "void" }, // config, v
  quiche_config_set_max_idle_timeout: { parameters: ["usize", "u64"], result: "void" }, // config, v (milliseconds)
  quiche_config_set_max_recv_udp_payload_size: { parameters: ["usize", "usize"], result: "void" }, // config, v
  quiche_config_set_max_send_udp_payload_size: { parameters: ["usize", "usize"], result: "void" }, // config, v
  quiche_config_set_initial_max_data: { parameters: ["usize", "u64"], result: "void" }, // config, v
  quiche_config_set_initial_max_stream_data_bidi_local: { parameters: ["usize", "u64"], result: "void" }, // config, v
  quiche_config_set_initial_max_stream_data_bidi_remote: { parameters: ["usize", "u64"], result: "void" }, // config, v
  quiche_config_set_initial_max_stream_data_uni: { parameters: ["usize", "u64"], result: "void" }, // config, v
  quiche_config_set_initial_max_streams_bidi: { parameters: ["usize", "u64"], result: "void" }, // config, v
  quiche_config_set_initial_max_streams_uni: { parameters: ["usize", "u64"], result: "void" }, // config, v
  quiche_config_set_ack_delay_exponent: { parameters: ["usize", "u64"], result: "void" }, // config, v
  quiche_config_set_max_ack_delay: { parameters: ["usize", "u64"], result: "void" }, // config, v
  quiche_config_set_disable_active_migration: { parameters: ["usize", "bool"], result: "void" }, // config, v
  quiche_config_set_cc_algorithm_name: { parameters: ["usize", "usize"], result: "i32" }, // config, algo (NUL-terminated)
  quiche_config_set_cc_algorithm: { parameters: ["usize", "i32"], result: "void" }, // config, algo (CongestionControl)
  quiche_config_set_initial_congestion_window_packets: { parameters: ["usize", "usize"], result: "void" }, // config, packets
  quiche_config_enable_hystart: { parameters: ["usize", "bool"], result: "void" }, // config, v
  quiche_config_enable_pacing: { parameters: ["usize", "bool"], result: "void" }, // config, v
  quiche_config_set_max_pacing_rate: { parameters: ["usize", "u64"], result: "void" }, // config, v
  quiche_config_enable_dgram: { parameters: ["usize", "bool", "usize", "usize"], result: "void" }, // config, enabled, recv_queue_len, send_queue_len
  quiche_config_set_max_connection_window: { parameters: ["usize", "u64"], result: "void" }, // config, v
  quiche_config_set_max_stream_window: { parameters: ["usize", "u64"], result: "void" }, // config, v
  quiche_config_set_use_initial_max_data_as_flow_control_win: { parameters: ["usize", "bool"], result: "void" }, // config, v
  quiche_config_set_active_connection_id_limit: { parameters: ["usize", "u64"], result: "void" }, // config, v
  quiche_config_set_stateless_reset_token: { parameters: ["usize", "usize"], result: "void" }, // config, v (16 bytes)
  quiche_config_set_disable_dcid_reuse: { parameters: ["usize", "bool"], result: "void" }, // config, v
} as const;

const CONNECTION = {
  quiche_version_is_supported: { parameters: ["u32"], result: "bool" }, // version
  quiche_negotiate_version: { parameters: ["usize", "usize", "usize", "usize", "usize", "usize"], result: "i32" }, // scid, scid_len, dcid, dcid_len, out, out_len
  quiche_retry: {
    // scid, scid_len, dcid, dcid_len, new_scid, new_scid_len, token, token_len, version, out, out_len
    parameters: ["usize", "usize", "usize", "usize", "usize", "usize", "usize", "usize", "u32", "usize", "usize"],
    result: "i32",
  },
  quiche_accept: {
    // scid, scid_len, odcid (may be null), odcid_len, local, local_len, peer, peer_len, config
    parameters: ["usize", "usize", "usize", "usize", "usize", "u32", "usize", "u32", "usize"],
    result: "usize",
  },
  quiche_connect: {
    // server_name (always null: see postern_conn_expect_name), scid, scid_len, local, local_len, peer, peer_len, config
    parameters: ["usize", "usize", "usize", "usize", "u32", "usize", "u32", "usize"],
    result: "usize",
  },
  quiche_conn_free: { parameters: ["usize"], result: "void" }, // conn
  quiche_conn_recv: { parameters: ["usize", "usize", "usize", "usize"], result: "i32" }, // conn, buf, buf_len, info
  quiche_conn_send: { parameters: ["usize", "usize", "usize", "usize"], result: "i32" }, // conn, out, out_len, out_info
  quiche_conn_send_quantum: { parameters: ["usize"], result: "i32" }, // conn
  // No timer is 2^64-1, whose lower half is -1; a timer's length is bounded by the idle timeout.
  quiche_conn_timeout_as_millis: { parameters: ["usize"], result: "i32" }, // conn
  quiche_conn_on_timeout: { parameters: ["usize"], result: "void" }, // conn
  quiche_conn_peer_cert: { parameters: ["usize", "usize", "usize"], result: "void" }, // conn, out, out_len
  quiche_conn_is_established: { parameters: ["usize"], result: "bool" }, // conn
  quiche_conn_is_closed: { parameters: ["usize"], result: "bool" }, // conn
  quiche_conn_is_draining: { parameters: ["usize"], result: "bool" }, // conn
  quiche_conn_is_timed_out: { parameters: ["usize"], result: "bool" }, // conn
  quiche_conn_is_readable: { parameters: ["usize"], result: "bool" }, // conn
  quiche_conn_server_name: { parameters: ["usize", "usize", "usize"], result: "void" }, // conn, out, out_len
  quiche_conn_destination_id: { parameters: ["usize", "usize", "usize"], result: "void" }, // conn, out, out_len
  quiche_conn_application_proto: { parameters: ["usize", "usize", "usize"], result: "void" }, // conn, out, out_len
  quiche_conn_close: { parameters: ["usize", "bool", "u64", "usize", "usize"], result: "i32" }, // conn, app, err, reason, reason_len
  quiche_conn_peer_error: { parameters: ["usize", "usize", "usize", "usize", "usize"], result: "bool" }, // conn, is_app, error_code, reason, reason_len
  quiche_conn_local_error: { parameters: ["usize", "usize", "usize", "usize", "usize"], result: "bool" }, // conn, is_app, error_code, reason, reason_len
  quiche_conn_send_ack_eliciting: { parameters: ["usize"], result: "i32" }, // conn
  quiche_conn_stats: { parameters: ["usize", "usize"], result: "void" }, // conn, out
  quiche_conn_path_stats: { parameters: ["usize", "usize", "usize"], result: "i32" }, // conn, idx, out
} as const;

const STREAMS_AND_DATAGRAMS = {
  // quiche's own functions for these return int64_t, which would cost ten times as much as a double; -1 for none.
  postern_conn_readable_next: { parameters: ["usize"], result: "f64" }, // conn
  postern_conn_writable_next: { parameters: ["usize"], result: "f64" }, // conn
  quiche_conn_stream_readable_next: { parameters: ["usize"], result: "i64" }, // conn
  quiche_conn_stream_writable_next: { parameters: ["usize"], result: "i64" }, // conn
  quiche_conn_stream_capacity: { parameters: ["usize", "u64"], result: "i32" }, // conn, stream_id
  quiche_conn_stream_writable: { parameters: ["usize", "u64", "usize"], result: "i32" }, // conn, stream_id, len
  quiche_conn_stream_recv: { parameters: ["usize", "u64", "usize", "usize", "usize", "usize"], result: "i32" }, // conn, stream_id, out, buf_len, fin, out_error_code
  quiche_conn_stream_send: { parameters: ["usize", "u64", "usize", "usize", "bool", "usize"], result: "i32" }, // conn, stream_id, buf, buf_len, fin, out_error_code
  quiche_conn_stream_shutdown: { parameters: ["usize", "u64", "i32", "u64"], result: "i32" }, // conn, stream_id, direction (ShutdownDirection), err
  quiche_conn_stream_priority: { parameters: ["usize", "u64", "u8", "bool"], result: "i32" }, // conn, stream_id, urgency, incremental
  quiche_conn_stream_readable: { parameters: ["usize", "u64"], result: "bool" }, // conn, stream_id
  quiche_conn_stream_finished: { parameters: ["usize", "u64"], result: "bool" }, // conn, stream_id
  quiche_conn_peer_streams_left_bidi: { parameters: ["usize"], result: "u64" }, // conn

  quiche_conn_dgram_max_writable_len: { parameters: ["usize"], result: "i32" }, // conn
  quiche_conn_dgram_recv: { parameters: ["usize", "usize", "usize"], result: "i32" }, // conn, buf, buf_len
  quiche_conn_dgram_send: { parameters: ["usize", "usize", "usize"], result: "i32" }, // conn, buf, buf_len
  quiche_conn_dgram_recv_queue_len: { parameters: ["usize"], result: "i32" }, // conn
  quiche_conn_dgram_send_queue_len: { parameters: ["usize"], result: "i32" }, // conn
  quiche_conn_is_dgram_send_queue_full: { parameters: ["usize"], result: "bool" }, // conn
} as const;

const IDENTIFIERS_AND_PATHS = {
  quiche_conn_scids_left: { parameters: ["usize"], result: "i32" }, // conn
  quiche_conn_active_scids: { parameters: ["usize"], result: "i32" }, // conn
  quiche_conn_new_scid: { parameters: ["usize", "usize", "usize", "usize", "bool", "usize"], result: "i32" }, // conn, scid, scid_len, reset_token (16 bytes), retire_if_needed, scid_seq
  quiche_conn_retired_scids: { parameters: ["usize"], result: "i32" }, // conn
  quiche_conn_retired_scid_iter: { parameters: ["usize"], result: "usize" }, // conn
  quiche_connection_id_iter_next: { parameters: ["usize", "usize", "usize"], result: "bool" }, // iter, out, out_len
  quiche_connection_id_iter_free: { parameters: ["usize"], result: "void" }, // iter
  quiche_conn_path_event_next: { parameters: ["usize"], result: "usize" }, // conn
  quiche_path_event_type: { parameters: ["usize"], result: "i32" }, // ev
  quiche_path_event_new: { parameters: ["usize", "usize", "usize", "usize", "usize"], result: "void" }, // ev, local, local_len, peer, peer_len
  quiche_path_event_validated: { parameters: ["usize", "usize", "usize", "usize", "usize"], result: "void" }, // ev, local, local_len, peer, peer_len
  quiche_path_event_failed_validation: { parameters: ["usize", "usize", "usize", "usize", "usize"], result: "void" }, // ev, local, local_len, peer, peer_len
  quiche_path_event_closed: { parameters: ["usize", "usize", "usize", "usize", "usize"], result: "void" }, // ev, local, local_len, peer, peer_len
  quiche_path_event_reused_source_connection_id: {
    // ev, id, old_local, old_local_len, old_peer, old_peer_len, local, local_len, peer, peer_len
    parameters: ["usize", "usize", "usize", "usize", "usize", "usize", "usize", "usize", "usize", "usize"],
    result: "void",
  },
  quiche_path_event_peer_migrated: { parameters: ["usize", "usize", "usize", "usize", "usize"], result: "void" }, // ev, local, local_len, peer, peer_len
  quiche_path_event_pmtu_updated: { parameters: ["usize", "usize", "usize", "usize", "usize", "usize"], result: "void" }, // ev, local, local_len, peer, peer_len, pmtu
  quiche_path_event_free: { parameters: ["usize"], result: "void" }, // ev
  quiche_conn_migrate_source: { parameters: ["usize", "usize", "u32", "usize"], result: "i32" }, // conn, local, local_len, seq
  quiche_conn_probe_path: { parameters: ["usize", "usize", "u32", "usize", "u32", "usize"], result: "i32" }, // conn, local, local_len, peer, peer_len, seq
} as const;

/** The TLS facts of a connection, which quiche's own interface does not tell. */
const TLS_FACTS = {
  postern_conn_expect_name: { parameters: ["usize", "usize", "usize"], result: "i32" }, // conn, name, name_len
  postern_conn_export_key: { parameters: ["usize", "usize", "usize", "usize", "usize", "usize", "usize"], result: "i32" }, // conn, label, label_len, context, context_len, out, out_len
  postern_conn_group: { parameters: ["usize", "usize", "usize"], result: "i32" }, // conn, out, cap
  postern_conn_cipher: { parameters: ["usize", "usize", "usize"], result: "i32" }, // conn, out, cap
  postern_conn_peer_verified: { parameters: ["usize"], result: "i32" }, // conn
  postern_conn_peer_chain: { parameters: ["usize", "usize", "usize"], result: "i32" }, // conn, out, cap
  postern_conn_verify_error: { parameters: ["usize", "usize", "usize"], result: "i32" }, // conn, out, cap
  postern_conn_offered_cert: { parameters: ["usize", "usize", "usize"], result: "i32" }, // conn, out, cap
} as const;

const CERTIFICATES = {
  postern_cert_summary: { parameters: ["usize", "usize", "usize", "usize"], result: "i32" }, // der, der_len, out, cap
  postern_pem_certificates: { parameters: ["usize", "usize", "usize", "usize"], result: "i32" }, // pem, pem_len, out, cap
} as const;

/** Everything that `ffi/quiche` opens in the library. */
export const QUICHE_SYMBOLS = {
  ...CONFIGURATION,
  ...CONNECTION,
  ...STREAMS_AND_DATAGRAMS,
  ...IDENTIFIERS_AND_PATHS,
  ...TLS_FACTS,
  ...CERTIFICATES,
} as const satisfies Deno.ForeignLibraryInterface;

export type QuicheSymbols = Deno.StaticForeignLibraryInterface<typeof QUICHE_SYMBOLS>;
