//! Bytes through a TLS end: ciphertext on the transport's side, plaintext on ours.

use boring_sys as ffi;
use std::os::raw::c_int;

use crate::memory::{input, output};
use crate::tls::{no_end, TlsEnd, RING_BYTES, WANTS_INPUT_OR_DRAIN};

/// What a record may be longer than its plaintext, plus a key update answered in the same write.
const RECORD_OVERHEAD_BYTES: usize = 256;
const RECORD_PLAINTEXT_BYTES_MAX: usize = 16_384;

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
    if end.ended != 0 {
        return end.ended;
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
    if end.ended != 0 {
        return end.ended;
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
    if end.ended != 0 {
        return end.ended;
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
    if end.ended != 0 {
        return end.ended;
    }
    ffi::ERR_clear_error();
    match ffi::SSL_shutdown(end.ssl) {
        0 | 1 => 1,
        result => end.result_of(result),
    }
}
