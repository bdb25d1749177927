//! What is known of a TLS end: its failure, its peer, what was negotiated.

use boring_sys as ffi;
use std::os::raw::c_uint;

use crate::error::number;
use crate::memory::{give, input};
use crate::session;
use crate::tls::{no_end, TlsEnd};
use crate::verify::notes;

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
