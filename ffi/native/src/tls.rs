//! A TLS 1.3 end without a socket: ciphertext is fed in and drained out, plaintext is written in and read out.
//!
//! ```text
//!   socket ──feed──► [ring] ──► TLS ──read──► plaintext
//!   socket ◄─drain── [ring] ◄── TLS ◄─write── plaintext
//! ```
//! Both rings are bounded by [`RING_BYTES`]: `feed` says how much it took, `write` takes only what the outgoing ring can
//! hold. Nothing blocks, nothing grows. The rules of verification are those of the QUIC configurations.

use boring::ssl::{SslContext, SslSessionCacheMode};
use boring_sys as ffi;
use foreign_types_shared::ForeignType;
use std::os::raw::{c_int, c_uint, c_void};
use std::sync::Arc;

use crate::config::{builder, Material};
use crate::error::{handle, number, Failure, Outcome};
use crate::memory::{give, input, output};
use crate::session;
use crate::verify::{note_alert, notes, Flags};

/// Ciphertext kept per direction: two full TLS records and some (RFC 8446 §5.2).
const RING_BYTES: usize = 36_864;
/// What a record may be longer than its plaintext, plus a key update answered in the same write.
const RECORD_OVERHEAD_BYTES: usize = 256;
const RECORD_PLAINTEXT_BYTES_MAX: usize = 16_384;

/// Results of `handshake`, `read`, `write` and `shutdown` that are not counts.
const WANTS_INPUT_OR_DRAIN: i32 = -1;
const FAILED: i32 = -2;
/// The transport ended without the peer's close_notify: what was read may be cut short.
const TRUNCATED: i32 = -3;

/// What many TLS ends share.
pub struct TlsContext(Arc<Shared>);

struct Shared {
    context: SslContext,
    is_server: bool,
    /// Length-prefixed names in our order; empty for none (RFC 7301).
    protocols: Vec<u8>,
}

pub struct TlsEnd {
    ssl: *mut ffi::SSL,
    /// The other half of the pair of rings that `ssl` reads and writes.
    outside: *mut ffi::BIO,
    inside: *mut ffi::BIO,
    failure: String,
    input_ended: bool,
    // Keeps the protocol list alive that BoringSSL's callback points to.
    _shared: Arc<Shared>,
}

impl Drop for TlsEnd {
    fn drop(&mut self) {
        // SAFETY: owned by this value alone; freeing the SSL frees `inside`.
        unsafe {
            ffi::SSL_free(self.ssl);
            ffi::BIO_free(self.outside);
        }
    }
}

/// A context from PEM texts; the parameters are those of `postern_config_new`, and `protocols`: ALPN names with one length
/// byte before each, in order of preference.
#[no_mangle]
#[allow(clippy::too_many_arguments)]
pub unsafe extern "C" fn postern_tls_context_new(
    certificate: *const u8,
    certificate_len: usize,
    key: *const u8,
    key_len: usize,
    trust: *const u8,
    trust_len: usize,
    crl: *const u8,
    crl_len: usize,
    groups: *const u8,
    groups_len: usize,
    protocols: *const u8,
    protocols_len: usize,
    flags: u32,
) -> *mut TlsContext {
    let material = Material {
        certificate: input(certificate, certificate_len),
        key: input(key, key_len),
        trust: input(trust, trust_len),
        crl: input(crl, crl_len),
        groups: input(groups, groups_len),
    };
    handle(context(&material, input(protocols, protocols_len), Flags(flags)))
}

/// Frees a context; its ends live on.
#[no_mangle]
pub unsafe extern "C" fn postern_tls_context_free(context: *mut TlsContext) {
    if !context.is_null() {
        drop(Box::from_raw(context));
    }
}

/// One end. A client names whom it expects (an IP address or a DNS name); a server gives no name.
#[no_mangle]
pub unsafe extern "C" fn postern_tls_new(context: *const TlsContext, name: *const u8, name_len: usize) -> *mut TlsEnd {
    let made = match context.as_ref() {
        Some(context) => end(&context.0, input(name, name_len)),
        None => Err("there is no TLS context".into()),
    };
    handle(made)
}

#[no_mangle]
pub unsafe extern "C" fn postern_tls_free(end: *mut TlsEnd) {
    if !end.is_null() {
        drop(Box::from_raw(end));
    }
}

/// Takes ciphertext from the transport. Returns how many bytes were taken: fewer than given, or 0, when the ring is full.
#[no_mangle]
pub unsafe extern "C" fn postern_tls_feed(end: *mut TlsEnd, bytes: *const u8, len: usize) -> i32 {
    let Some(end) = end.as_mut() else { return no_end() };
    let bytes = input(bytes, len.min(RING_BYTES));
    if bytes.is_empty() || end.input_ended {
        return 0;
    }
    // A full ring answers "retry", which is less than zero.
    ffi::BIO_write(end.outside, bytes.as_ptr().cast(), bytes.len() as c_int).max(0)
}

/// The transport gave its last byte: what follows is `TRUNCATED` unless the peer had said close_notify.
#[no_mangle]
pub unsafe extern "C" fn postern_tls_feed_end(end: *mut TlsEnd) -> i32 {
    let Some(end) = end.as_mut() else { return no_end() };
    end.input_ended = true;
    ffi::BIO_shutdown_wr(end.outside);
    0
}

/// Gives ciphertext for the transport. Returns how many bytes, 0 when there are none.
#[no_mangle]
pub unsafe extern "C" fn postern_tls_drain(end: *mut TlsEnd, out: *mut u8, cap: usize) -> i32 {
    let Some(end) = end.as_mut() else { return no_end() };
    let room = output(out, cap.min(RING_BYTES));
    if room.is_empty() {
        return 0;
    }
    ffi::BIO_read(end.outside, room.as_mut_ptr().cast(), room.len() as c_int).max(0)
}

/// Bytes that `drain` would give.
#[no_mangle]
pub unsafe extern "C" fn postern_tls_pending(end: *const TlsEnd) -> i32 {
    let Some(end) = end.as_ref() else { return no_end() };
    i32::try_from(ffi::BIO_pending(end.outside)).unwrap_or(i32::MAX)
}

/// 1 done, -1 wants input (after draining), -2 refused or failed.
#[no_mangle]
pub unsafe extern "C" fn postern_tls_handshake(end: *mut TlsEnd) -> i32 {
    let Some(end) = end.as_mut() else { return no_end() };
    if !end.failure.is_empty() {
        return FAILED;
    }
    ffi::ERR_clear_error();
    match ffi::SSL_do_handshake(end.ssl) {
        1 => 1,
        result => end.result_of(result),
    }
}

/// Plaintext: its length, 0 after the peer's close_notify, -1 wants input, -2 failed, -3 cut short.
#[no_mangle]
pub unsafe extern "C" fn postern_tls_read(end: *mut TlsEnd, out: *mut u8, cap: usize) -> i32 {
    let Some(end) = end.as_mut() else { return no_end() };
    if !end.failure.is_empty() {
        return FAILED;
    }
    let room = output(out, cap.min(RECORD_PLAINTEXT_BYTES_MAX));
    if room.is_empty() {
        return WANTS_INPUT_OR_DRAIN;
    }
    ffi::ERR_clear_error();
    match ffi::SSL_read(end.ssl, room.as_mut_ptr().cast(), room.len() as c_int) {
        count if count > 0 => count,
        result => end.result_of(result),
    }
}

/// Takes plaintext: how many bytes, -1 when the outgoing ring must be drained first, -2 failed.
#[no_mangle]
pub unsafe extern "C" fn postern_tls_write(end: *mut TlsEnd, bytes: *const u8, len: usize) -> i32 {
    let Some(end) = end.as_mut() else { return no_end() };
    if !end.failure.is_empty() {
        return FAILED;
    }
    // Never more than one record that surely fits: so a write is never left half done inside.
    let room = ffi::BIO_ctrl_get_write_guarantee(end.inside).saturating_sub(RECORD_OVERHEAD_BYTES);
    let bytes = input(bytes, len.min(room).min(RECORD_PLAINTEXT_BYTES_MAX));
    if bytes.is_empty() {
        return if len == 0 { 0 } else { WANTS_INPUT_OR_DRAIN };
    }
    ffi::ERR_clear_error();
    match ffi::SSL_write(end.ssl, bytes.as_ptr().cast(), bytes.len() as c_int) {
        count if count > 0 => count,
        result => end.result_of(result),
    }
}

/// Says close_notify: nothing more will be written; reading goes on. 1 said, -1 drain first and call again, -2 failed.
#[no_mangle]
pub unsafe extern "C" fn postern_tls_shutdown(end: *mut TlsEnd) -> i32 {
    let Some(end) = end.as_mut() else { return no_end() };
    if !end.failure.is_empty() {
        return FAILED;
    }
    ffi::ERR_clear_error();
    match ffi::SSL_shutdown(end.ssl) {
        0 | 1 => 1,
        result => end.result_of(result),
    }
}

/// Why the end failed; "" while it has not.
#[no_mangle]
pub unsafe extern "C" fn postern_tls_error(end: *const TlsEnd, out: *mut u8, cap: usize) -> i32 {
    let Some(end) = end.as_ref() else { return no_end() };
    give(end.failure.as_bytes(), out, cap)
}

/// As `postern_conn_verify_error`.
#[no_mangle]
pub unsafe extern "C" fn postern_tls_verify_error(end: *const TlsEnd, out: *mut u8, cap: usize) -> i32 {
    let Some(end) = end.as_ref() else { return no_end() };
    give(notes(end.ssl).map_or(&[][..], |notes| notes.refusal.as_bytes()), out, cap)
}

/// As `postern_conn_offered_cert`.
#[no_mangle]
pub unsafe extern "C" fn postern_tls_offered_cert(end: *const TlsEnd, out: *mut u8, cap: usize) -> i32 {
    let Some(end) = end.as_ref() else { return no_end() };
    give(notes(end.ssl).map_or(&[][..], |notes| notes.offered.as_slice()), out, cap)
}

/// As `postern_conn_peer_chain`.
#[no_mangle]
pub unsafe extern "C" fn postern_tls_peer_chain(end: *const TlsEnd, out: *mut u8, cap: usize) -> i32 {
    let Some(end) = end.as_ref() else { return no_end() };
    give(&session::peer_chain(end.ssl), out, cap)
}

/// As `postern_conn_peer_verified`.
#[no_mangle]
pub unsafe extern "C" fn postern_tls_peer_verified(end: *const TlsEnd) -> i32 {
    let Some(end) = end.as_ref() else { return no_end() };
    i32::from(notes(end.ssl).is_some_and(|notes| notes.is_verified))
}

/// The protocol version, such as `TLSv1.3`.
#[no_mangle]
pub unsafe extern "C" fn postern_tls_version(end: *const TlsEnd, out: *mut u8, cap: usize) -> i32 {
    let Some(end) = end.as_ref() else { return no_end() };
    give(session::version(end.ssl), out, cap)
}

/// As `postern_conn_group`.
#[no_mangle]
pub unsafe extern "C" fn postern_tls_group(end: *const TlsEnd, out: *mut u8, cap: usize) -> i32 {
    let Some(end) = end.as_ref() else { return no_end() };
    give(session::group(end.ssl), out, cap)
}

/// As `postern_conn_cipher`.
#[no_mangle]
pub unsafe extern "C" fn postern_tls_cipher(end: *const TlsEnd, out: *mut u8, cap: usize) -> i32 {
    let Some(end) = end.as_ref() else { return no_end() };
    give(session::cipher(end.ssl), out, cap)
}

/// The negotiated application protocol, "" when there is none.
#[no_mangle]
pub unsafe extern "C" fn postern_tls_protocol(end: *const TlsEnd, out: *mut u8, cap: usize) -> i32 {
    let Some(end) = end.as_ref() else { return no_end() };
    let mut name: *const u8 = std::ptr::null();
    let mut length: c_uint = 0;
    ffi::SSL_get0_alpn_selected(end.ssl, &mut name, &mut length);
    give(input(name, length as usize), out, cap)
}

/// As `postern_conn_export_key`.
#[no_mangle]
pub unsafe extern "C" fn postern_tls_export_key(
    end: *const TlsEnd,
    label: *const u8,
    label_len: usize,
    context: *const u8,
    context_len: usize,
    out: *mut u8,
    out_len: usize,
) -> i32 {
    let Some(end) = end.as_ref() else { return no_end() };
    number(session::export_key(end.ssl, input(label, label_len), input(context, context_len), out, out_len))
}

/// The description of the last alert that we sent (`from_peer` 0) or received (1), RFC 8446 §6; -1 for none.
#[no_mangle]
pub unsafe extern "C" fn postern_tls_alert(end: *const TlsEnd, from_peer: u32) -> i32 {
    let Some(end) = end.as_ref() else { return no_end() };
    let Some(notes) = notes(end.ssl) else { return -1 };
    let alert = if from_peer == 0 { notes.alert_sent } else { notes.alert_received };
    alert.map_or(-1, i32::from)
}

unsafe fn context(material: &Material, protocols: &[u8], flags: Flags) -> Outcome<TlsContext> {
    if !is_protocol_list(protocols) {
        return Err("the application protocols are not a list of names of 1 to 255 bytes".into());
    }
    let mut builder = builder(material, flags)?;
    builder.set_session_cache_mode(SslSessionCacheMode::OFF);
    let raw = builder.as_ptr();
    ffi::SSL_CTX_set_info_callback(raw, Some(note_alert));
    let is_server = flags.has(Flags::SERVER);
    // 0 is success in this one.
    if !is_server && !protocols.is_empty() && ffi::SSL_CTX_set_alpn_protos(raw, protocols.as_ptr(), protocols.len()) != 0 {
        return Err("the application protocols cannot be set".into());
    }
    let shared = Arc::new(Shared { context: builder.build(), is_server, protocols: protocols.to_vec() });
    if is_server && !shared.protocols.is_empty() {
        let list = std::ptr::from_ref(&shared.protocols).cast_mut().cast::<c_void>();
        ffi::SSL_CTX_set_alpn_select_cb(shared.context.as_ptr(), Some(select_protocol), list);
    }
    Ok(TlsContext(shared))
}

/// Picks ours by our order; no common protocol ends the handshake (RFC 7301 §3.2). A client that names none goes on.
unsafe extern "C" fn select_protocol(
    _ssl: *mut ffi::SSL,
    out: *mut *const u8,
    out_len: *mut u8,
    offered: *const u8,
    offered_len: c_uint,
    list: *mut c_void,
) -> c_int {
    let Some(ours) = list.cast::<Vec<u8>>().as_ref() else { return ffi::SSL_TLSEXT_ERR_ALERT_FATAL };
    let mut offers = input(offered, offered_len as usize);
    let mut theirs: Vec<&[u8]> = Vec::new();
    while let Some((name, rest)) = next_protocol(offers) {
        theirs.push(name);
        offers = rest;
    }
    let mut rest = ours.as_slice();
    while let Some((name, after)) = next_protocol(rest) {
        if theirs.contains(&name) {
            *out = name.as_ptr();
            *out_len = u8::try_from(name.len()).unwrap_or(0);
            return ffi::SSL_TLSEXT_ERR_OK;
        }
        rest = after;
    }
    ffi::SSL_TLSEXT_ERR_ALERT_FATAL
}

fn next_protocol(list: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = list.split_first()?;
    (*length > 0).then(|| rest.split_at_checked(usize::from(*length)))?
}

fn is_protocol_list(mut list: &[u8]) -> bool {
    while let Some((_, rest)) = next_protocol(list) {
        list = rest;
    }
    list.is_empty()
}

unsafe fn end(shared: &Arc<Shared>, name: &[u8]) -> Outcome<TlsEnd> {
    let ssl = ffi::SSL_new(shared.context.as_ptr());
    if ssl.is_null() {
        return Err(crate::error::queued().into());
    }
    let (mut inside, mut outside) = (std::ptr::null_mut(), std::ptr::null_mut());
    if ffi::BIO_new_bio_pair(&mut inside, RING_BYTES, &mut outside, RING_BYTES) != 1 {
        ffi::SSL_free(ssl);
        return Err("out of memory".into());
    }
    // One BIO for both directions; the SSL owns it from here.
    ffi::SSL_set_bio(ssl, inside, inside);
    let end = TlsEnd { ssl, outside, inside, failure: String::new(), input_ended: false, _shared: Arc::clone(shared) };
    if shared.is_server {
        ffi::SSL_set_accept_state(ssl);
    } else {
        ffi::SSL_set_connect_state(ssl);
    }
    if !name.is_empty() {
        session::expect_name(ssl, name)?;
    }
    Ok(end)
}

impl TlsEnd {
    /// What a result below 1 means; keeps the words when it is a failure.
    unsafe fn result_of(&mut self, result: c_int) -> i32 {
        match ffi::SSL_get_error(self.ssl, result) {
            ffi::SSL_ERROR_WANT_READ | ffi::SSL_ERROR_WANT_WRITE => WANTS_INPUT_OR_DRAIN,
            ffi::SSL_ERROR_ZERO_RETURN => 0,
            ffi::SSL_ERROR_SYSCALL if self.input_ended => {
                let in_handshake = ffi::SSL_in_init(self.ssl) == 1;
                self.failure =
                    if in_handshake { "the peer closed during the handshake" } else { "the peer closed without saying so" }.into();
                if in_handshake {
                    FAILED
                } else {
                    TRUNCATED
                }
            }
            _ => {
                self.failure = self.words();
                FAILED
            }
        }
    }

    unsafe fn words(&self) -> String {
        let queued = crate::error::queued();
        match notes(self.ssl) {
            Some(notes) if !notes.refusal.is_empty() => notes.refusal.clone(),
            _ => queued,
        }
    }
}

fn no_end() -> i32 {
    number(Err(Failure::from("there is no TLS end"))).min(FAILED)
}
