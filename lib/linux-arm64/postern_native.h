/*
 * What Postern calls in libpostern_native.so: its own functions, then those of quiche 0.30.0 in the same form, one line
 * each. tests/abi compares every line with the symbol tables in TypeScript and with the library's exports; the build
 * compiles this file together with quiche's own header, so that a difference between the two is an error.
 *
 * Own functions that give out bytes take (out, cap) and return the length of the whole answer; the bytes are written only
 * when they fit. -1 (NULL for handles) is failure, postern_last_error of the same thread has the words. Nothing here blocks.
 */
#ifndef POSTERN_NATIVE_H
#define POSTERN_NATIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <time.h>

typedef struct quiche_config quiche_config;
typedef struct quiche_conn quiche_conn;
typedef struct quiche_connection_id_iter quiche_connection_id_iter;
typedef struct quiche_path_event quiche_path_event;
typedef struct postern_tls_context postern_tls_context;
typedef struct postern_tls postern_tls;

/* Grows with every change of the lines below. */
uint32_t postern_abi_version(void);
int32_t postern_last_error(uint8_t *out, size_t cap);
/* Lines "struct SIZE" and "struct.field OFFSET". */
int32_t postern_layout(uint8_t *out, size_t cap);

/*
 * Configurations. All texts are PEM. Exactly one of the three peer flags must be given.
 * groups: NULL for X25519MLKEM768:X25519:P-256:P-384.
 */
#define POSTERN_SERVER 1u
/* A server refuses clients without a certificate; a client verifies its server. */
#define POSTERN_PEER_REQUIRED 2u
/* Servers only: a client may have no certificate; one that it shows must be right. */
#define POSTERN_PEER_IF_GIVEN 4u
/* A server asks for no certificate; a client takes any. Without trust and CRLs. */
#define POSTERN_PEER_UNVERIFIED 8u
/* A CRL past its next update still counts. */
#define POSTERN_STALE_CRL_OK 16u

quiche_config *postern_config_new(const uint8_t *certificate, size_t certificate_len, const uint8_t *key, size_t key_len, const uint8_t *trust, size_t trust_len, const uint8_t *crl, size_t crl_len, const uint8_t *groups, size_t groups_len, uint32_t flags);

/* Connections made with such a configuration. */
/* An IP address or a DNS name; before the first quiche_conn_send of a client. Connect with a NULL server_name. */
int32_t postern_conn_expect_name(quiche_conn *conn, const uint8_t *name, size_t name_len);
/* RFC 8446 section 7.5; fills all of out. */
int32_t postern_conn_export_key(quiche_conn *conn, const uint8_t *label, size_t label_len, const uint8_t *context, size_t context_len, uint8_t *out, size_t out_len);
int32_t postern_conn_group(quiche_conn *conn, uint8_t *out, size_t cap);
int32_t postern_conn_cipher(quiche_conn *conn, uint8_t *out, size_t cap);
/* As quiche_conn_stream_readable_next and quiche_conn_stream_writable_next; a double is the cheaper result for the caller. */
double postern_conn_readable_next(quiche_conn *conn);
double postern_conn_writable_next(quiche_conn *conn);
/* 1: the peer showed a certificate that passed every check. */
int32_t postern_conn_peer_verified(quiche_conn *conn);
/* As presented, leaf first: u32 LE length and DER of each. */
int32_t postern_conn_peer_chain(quiche_conn *conn, uint8_t *out, size_t cap);
/*
 * Why the peer's certificate was refused, "" when it was not. It begins with "certificate expired", "certificate not yet valid",
 * "certificate revoked" or "no verified certificate chains" where it is one of these; which certificate stands behind it.
 */
int32_t postern_conn_verify_error(quiche_conn *conn, uint8_t *out, size_t cap);
/* The leaf that was shown, refused or not, DER. */
int32_t postern_conn_offered_cert(quiche_conn *conn, uint8_t *out, size_t cap);

/* Certificates. The summary's layout is in ffi/native/src/cert.rs. */
int32_t postern_cert_summary(const uint8_t *der, size_t der_len, uint8_t *out, size_t cap);
int32_t postern_pem_certificates(const uint8_t *pem, size_t pem_len, uint8_t *out, size_t cap);

/*
 * A TLS 1.3 end without a socket. handshake, read, write and shutdown return -1 when they want input or draining, -2 when
 * the end failed, -3 when the transport ended without close_notify. protocols: ALPN names, a length byte before each.
 */
postern_tls_context *postern_tls_context_new(const uint8_t *certificate, size_t certificate_len, const uint8_t *key, size_t key_len, const uint8_t *trust, size_t trust_len, const uint8_t *crl, size_t crl_len, const uint8_t *groups, size_t groups_len, const uint8_t *protocols, size_t protocols_len, uint32_t flags);
void postern_tls_context_free(postern_tls_context *context);
postern_tls *postern_tls_new(const postern_tls_context *context, const uint8_t *name, size_t name_len);
void postern_tls_free(postern_tls *end);
int32_t postern_tls_feed(postern_tls *end, const uint8_t *bytes, size_t len);
int32_t postern_tls_feed_end(postern_tls *end);
int32_t postern_tls_drain(postern_tls *end, uint8_t *out, size_t cap);
int32_t postern_tls_pending(const postern_tls *end);
int32_t postern_tls_handshake(postern_tls *end);
int32_t postern_tls_read(postern_tls *end, uint8_t *out, size_t cap);
int32_t postern_tls_write(postern_tls *end, const uint8_t *bytes, size_t len);
int32_t postern_tls_shutdown(postern_tls *end);
int32_t postern_tls_error(const postern_tls *end, uint8_t *out, size_t cap);
int32_t postern_tls_verify_error(const postern_tls *end, uint8_t *out, size_t cap);
int32_t postern_tls_offered_cert(const postern_tls *end, uint8_t *out, size_t cap);
int32_t postern_tls_peer_chain(const postern_tls *end, uint8_t *out, size_t cap);
int32_t postern_tls_peer_verified(const postern_tls *end);
int32_t postern_tls_version(const postern_tls *end, uint8_t *out, size_t cap);
int32_t postern_tls_group(const postern_tls *end, uint8_t *out, size_t cap);
int32_t postern_tls_cipher(const postern_tls *end, uint8_t *out, size_t cap);
int32_t postern_tls_protocol(const postern_tls *end, uint8_t *out, size_t cap);
int32_t postern_tls_export_key(const postern_tls *end, const uint8_t *label, size_t label_len, const uint8_t *context, size_t context_len, uint8_t *out, size_t out_len);
/* The last alert's description (RFC 8446 section 6), sent (from_peer 0) or received (1); -1 for none. */
int32_t postern_tls_alert(const postern_tls *end, uint32_t from_peer);

/* quiche: structs. Its own header, where it is included first, has them too. */
#ifndef QUICHE_H
typedef struct {
    struct sockaddr *from;
    socklen_t from_len;
    struct sockaddr *to;
    socklen_t to_len;
} quiche_recv_info;

typedef struct {
    struct sockaddr_storage from;
    socklen_t from_len;
    struct sockaddr_storage to;
    socklen_t to_len;
    struct timespec at;
} quiche_send_info;

/* Their fields: ffi/quiche/layout.ts. */
typedef struct quiche_stats quiche_stats;
typedef struct quiche_path_stats quiche_path_stats;

enum quiche_cc_algorithm { QUICHE_CC_RENO = 0, QUICHE_CC_CUBIC = 1, QUICHE_CC_BBR2_GCONGESTION = 4 };
enum quiche_shutdown { QUICHE_SHUTDOWN_READ = 0, QUICHE_SHUTDOWN_WRITE = 1 };
enum quiche_path_event_type {
    QUICHE_PATH_EVENT_NEW,
    QUICHE_PATH_EVENT_VALIDATED,
    QUICHE_PATH_EVENT_FAILED_VALIDATION,
    QUICHE_PATH_EVENT_CLOSED,
    QUICHE_PATH_EVENT_REUSED_SOURCE_CONNECTION_ID,
    QUICHE_PATH_EVENT_PEER_MIGRATED,
    QUICHE_PATH_EVENT_PMTU_UPDATED,
};
#endif

/* quiche: configuration. Never quiche_config_verify_peer: it would put a weaker verification in place of ours. */
const char *quiche_version(void);
void quiche_config_free(quiche_config *config);
int quiche_config_set_application_protos(quiche_config *config, const uint8_t *protos, size_t protos_len);
void quiche_config_grease(quiche_config *config, bool v);
void quiche_config_discover_pmtu(quiche_config *config, bool v);
void quiche_config_set_max_amplification_factor(quiche_config *config, size_t v);
void quiche_config_set_max_idle_timeout(quiche_config *config, uint64_t v);
void quiche_config_set_max_recv_udp_payload_size(quiche_config *config, size_t v);
void quiche_config_set_max_send_udp_payload_size(quiche_config *config, size_t v);
void quiche_config_set_initial_max_data(quiche_config *config, uint64_t v);
void quiche_config_set_initial_max_stream_data_bidi_local(quiche_config *config, uint64_t v);
void quiche_config_set_initial_max_stream_data_bidi_remote(quiche_config *config, uint64_t v);
void quiche_config_set_initial_max_stream_data_uni(quiche_config *config, uint64_t v);
void quiche_config_set_initial_max_streams_bidi(quiche_config *config, uint64_t v);
void quiche_config_set_initial_max_streams_uni(quiche_config *config, uint64_t v);
void quiche_config_set_ack_delay_exponent(quiche_config *config, uint64_t v);
void quiche_config_set_max_ack_delay(quiche_config *config, uint64_t v);
void quiche_config_set_disable_active_migration(quiche_config *config, bool v);
int quiche_config_set_cc_algorithm_name(quiche_config *config, const char *algo);
void quiche_config_set_cc_algorithm(quiche_config *config, enum quiche_cc_algorithm algo);
void quiche_config_set_initial_congestion_window_packets(quiche_config *config, size_t packets);
void quiche_config_enable_hystart(quiche_config *config, bool v);
void quiche_config_enable_pacing(quiche_config *config, bool v);
void quiche_config_set_max_pacing_rate(quiche_config *config, uint64_t v);
void quiche_config_enable_dgram(quiche_config *config, bool enabled, size_t recv_queue_len, size_t send_queue_len);
void quiche_config_set_max_connection_window(quiche_config *config, uint64_t v);
void quiche_config_set_max_stream_window(quiche_config *config, uint64_t v);
void quiche_config_set_use_initial_max_data_as_flow_control_win(quiche_config *config, bool v);
void quiche_config_set_active_connection_id_limit(quiche_config *config, uint64_t v);
void quiche_config_set_stateless_reset_token(quiche_config *config, const uint8_t *v);
void quiche_config_set_disable_dcid_reuse(quiche_config *config, bool v);

/* quiche: packets without a connection. */
bool quiche_version_is_supported(uint32_t version);
ssize_t quiche_negotiate_version(const uint8_t *scid, size_t scid_len, const uint8_t *dcid, size_t dcid_len, uint8_t *out, size_t out_len);
ssize_t quiche_retry(const uint8_t *scid, size_t scid_len, const uint8_t *dcid, size_t dcid_len, const uint8_t *new_scid, size_t new_scid_len, const uint8_t *token, size_t token_len, uint32_t version, uint8_t *out, size_t out_len);

/* quiche: a connection. */
quiche_conn *quiche_accept(const uint8_t *scid, size_t scid_len, const uint8_t *odcid, size_t odcid_len, const struct sockaddr *local, socklen_t local_len, const struct sockaddr *peer, socklen_t peer_len, quiche_config *config);
quiche_conn *quiche_connect(const char *server_name, const uint8_t *scid, size_t scid_len, const struct sockaddr *local, socklen_t local_len, const struct sockaddr *peer, socklen_t peer_len, quiche_config *config);
void quiche_conn_free(quiche_conn *conn);
ssize_t quiche_conn_recv(quiche_conn *conn, uint8_t *buf, size_t buf_len, const quiche_recv_info *info);
ssize_t quiche_conn_send(quiche_conn *conn, uint8_t *out, size_t out_len, quiche_send_info *out_info);
size_t quiche_conn_send_quantum(const quiche_conn *conn);
uint64_t quiche_conn_timeout_as_millis(const quiche_conn *conn);
void quiche_conn_on_timeout(quiche_conn *conn);
void quiche_conn_peer_cert(const quiche_conn *conn, const uint8_t **out, size_t *out_len);
bool quiche_conn_is_established(const quiche_conn *conn);
bool quiche_conn_is_closed(const quiche_conn *conn);
bool quiche_conn_is_draining(const quiche_conn *conn);
bool quiche_conn_is_timed_out(const quiche_conn *conn);
bool quiche_conn_is_readable(const quiche_conn *conn);
void quiche_conn_server_name(const quiche_conn *conn, const uint8_t **out, size_t *out_len);
void quiche_conn_destination_id(const quiche_conn *conn, const uint8_t **out, size_t *out_len);
void quiche_conn_application_proto(const quiche_conn *conn, const uint8_t **out, size_t *out_len);
int quiche_conn_close(quiche_conn *conn, bool app, uint64_t err, const uint8_t *reason, size_t reason_len);
bool quiche_conn_peer_error(const quiche_conn *conn, bool *is_app, uint64_t *error_code, const uint8_t **reason, size_t *reason_len);
bool quiche_conn_local_error(const quiche_conn *conn, bool *is_app, uint64_t *error_code, const uint8_t **reason, size_t *reason_len);
ssize_t quiche_conn_send_ack_eliciting(quiche_conn *conn);
void quiche_conn_stats(const quiche_conn *conn, quiche_stats *out);
int quiche_conn_path_stats(const quiche_conn *conn, size_t idx, quiche_path_stats *out);

/* quiche: streams. */
int64_t quiche_conn_stream_readable_next(quiche_conn *conn);
int64_t quiche_conn_stream_writable_next(quiche_conn *conn);
ssize_t quiche_conn_stream_capacity(quiche_conn *conn, uint64_t stream_id);
int quiche_conn_stream_writable(quiche_conn *conn, uint64_t stream_id, size_t len);
ssize_t quiche_conn_stream_recv(quiche_conn *conn, uint64_t stream_id, uint8_t *out, size_t buf_len, bool *fin, uint64_t *out_error_code);
ssize_t quiche_conn_stream_send(quiche_conn *conn, uint64_t stream_id, const uint8_t *buf, size_t buf_len, bool fin, uint64_t *out_error_code);
int quiche_conn_stream_shutdown(quiche_conn *conn, uint64_t stream_id, enum quiche_shutdown direction, uint64_t err);
int quiche_conn_stream_priority(quiche_conn *conn, uint64_t stream_id, uint8_t urgency, bool incremental);
bool quiche_conn_stream_readable(const quiche_conn *conn, uint64_t stream_id);
bool quiche_conn_stream_finished(const quiche_conn *conn, uint64_t stream_id);
uint64_t quiche_conn_peer_streams_left_bidi(const quiche_conn *conn);

/* quiche: datagrams. */
ssize_t quiche_conn_dgram_max_writable_len(const quiche_conn *conn);
ssize_t quiche_conn_dgram_recv(quiche_conn *conn, uint8_t *buf, size_t buf_len);
ssize_t quiche_conn_dgram_send(quiche_conn *conn, const uint8_t *buf, size_t buf_len);
ssize_t quiche_conn_dgram_recv_queue_len(const quiche_conn *conn);
ssize_t quiche_conn_dgram_send_queue_len(const quiche_conn *conn);
bool quiche_conn_is_dgram_send_queue_full(const quiche_conn *conn);

/* quiche: connection IDs and paths. */
size_t quiche_conn_scids_left(quiche_conn *conn);
size_t quiche_conn_active_scids(quiche_conn *conn);
int quiche_conn_new_scid(quiche_conn *conn, const uint8_t *scid, size_t scid_len, const uint8_t *reset_token, bool retire_if_needed, uint64_t *scid_seq);
size_t quiche_conn_retired_scids(const quiche_conn *conn);
quiche_connection_id_iter *quiche_conn_retired_scid_iter(quiche_conn *conn);
bool quiche_connection_id_iter_next(quiche_connection_id_iter *iter, const uint8_t **out, size_t *out_len);
void quiche_connection_id_iter_free(quiche_connection_id_iter *iter);
quiche_path_event *quiche_conn_path_event_next(quiche_conn *conn);
enum quiche_path_event_type quiche_path_event_type(const quiche_path_event *ev);
void quiche_path_event_new(const quiche_path_event *ev, struct sockaddr_storage *local, socklen_t *local_len, struct sockaddr_storage *peer, socklen_t *peer_len);
void quiche_path_event_validated(const quiche_path_event *ev, struct sockaddr_storage *local, socklen_t *local_len, struct sockaddr_storage *peer, socklen_t *peer_len);
void quiche_path_event_failed_validation(const quiche_path_event *ev, struct sockaddr_storage *local, socklen_t *local_len, struct sockaddr_storage *peer, socklen_t *peer_len);
void quiche_path_event_closed(const quiche_path_event *ev, struct sockaddr_storage *local, socklen_t *local_len, struct sockaddr_storage *peer, socklen_t *peer_len);
void quiche_path_event_reused_source_connection_id(const quiche_path_event *ev, uint64_t *id, struct sockaddr_storage *old_local, socklen_t *old_local_len, struct sockaddr_storage *old_peer, socklen_t *old_peer_len, struct sockaddr_storage *local, socklen_t *local_len, struct sockaddr_storage *peer, socklen_t *peer_len);
void quiche_path_event_peer_migrated(const quiche_path_event *ev, struct sockaddr_storage *local, socklen_t *local_len, struct sockaddr_storage *peer, socklen_t *peer_len);
void quiche_path_event_pmtu_updated(const quiche_path_event *ev, struct sockaddr_storage *local, socklen_t *local_len, struct sockaddr_storage *peer, socklen_t *peer_len, size_t *pmtu);
void quiche_path_event_free(quiche_path_event *ev);
int quiche_conn_migrate_source(quiche_conn *conn, const struct sockaddr *local, socklen_t local_len, uint64_t *seq);
int quiche_conn_probe_path(quiche_conn *conn, const struct sockaddr *local, socklen_t local_len, const struct sockaddr *peer, socklen_t peer_len, uint64_t *seq);

#endif
