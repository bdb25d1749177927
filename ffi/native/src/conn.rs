//! What quiche's C interface does not tell of a connection, or not cheaply: its TLS facts, its next streams.
//!
//! `conn` is what `quiche_accept` and `quiche_connect` returned, made with a configuration of `postern_config_new`.

use boring::ssl::SslRef;
use boring_sys as ffi;
use foreign_types_shared::ForeignTypeRef;

use crate::error::{number, Failure};
use crate::memory::{give, input};
use crate::session;
use crate::verify::notes;

/// To be called before the first `quiche_conn_send` of a client; without it a verifying client refuses every server.
/// Connect with a null server name: quiche's own check knows no IP addresses and falls back to the common name.
#[no_mangle]
pub unsafe extern "C" fn postern_conn_expect_name(conn: *mut quiche::Connection, name: *const u8, name_len: usize) -> i32 {
    let Some(ssl) = ssl(conn) else { return no_connection() };
    number(session::expect_name(ssl, input(name, name_len)))
}

/// Fills all of `out` with exported key material (RFC 8446 §7.5) and returns `out_len`.
#[no_mangle]
pub unsafe extern "C" fn postern_conn_export_key(
    conn: *mut quiche::Connection,
    label: *const u8,
    label_len: usize,
    context: *const u8,
    context_len: usize,
    out: *mut u8,
    out_len: usize,
) -> i32 {
    let Some(ssl) = ssl(conn) else { return no_connection() };
    number(session::export_key(ssl, input(label, label_len), input(context, context_len), out, out_len))
}

/// The negotiated group's name, "" before the handshake.
#[no_mangle]
pub unsafe extern "C" fn postern_conn_group(conn: *mut quiche::Connection, out: *mut u8, cap: usize) -> i32 {
    let Some(ssl) = ssl(conn) else { return no_connection() };
    give(session::group(ssl), out, cap)
}

/// The negotiated cipher suite's name, "" before the handshake.
#[no_mangle]
pub unsafe extern "C" fn postern_conn_cipher(conn: *mut quiche::Connection, out: *mut u8, cap: usize) -> i32 {
    let Some(ssl) = ssl(conn) else { return no_connection() };
    give(session::cipher(ssl), out, cap)
}

/// As `quiche_conn_stream_readable_next`: the next stream with something to read, -1 for none. A double holds every ID below
/// 2^53 and costs the caller a tenth of a 64-bit integer.
#[no_mangle]
pub unsafe extern "C" fn postern_conn_readable_next(conn: *mut quiche::Connection) -> f64 {
    conn.as_mut().and_then(|conn| conn.stream_readable_next()).map_or(-1.0, |stream| stream as f64)
}

/// As `quiche_conn_stream_writable_next`, likewise.
#[no_mangle]
pub unsafe extern "C" fn postern_conn_writable_next(conn: *mut quiche::Connection) -> f64 {
    conn.as_mut().and_then(|conn| conn.stream_writable_next()).map_or(-1.0, |stream| stream as f64)
}

/// 1 when the peer showed a certificate that passed every check, else 0. With verification off it is 0.
#[no_mangle]
pub unsafe extern "C" fn postern_conn_peer_verified(conn: *mut quiche::Connection) -> i32 {
    let Some(ssl) = ssl(conn) else { return no_connection() };
    i32::from(notes(ssl).is_some_and(|notes| notes.is_verified))
}

/// The peer's chain as presented, leaf first, each a u32 LE length and DER. Says nothing about trust: ask
/// `postern_conn_peer_verified`.
#[no_mangle]
pub unsafe extern "C" fn postern_conn_peer_chain(conn: *mut quiche::Connection, out: *mut u8, cap: usize) -> i32 {
    let Some(ssl) = ssl(conn) else { return no_connection() };
    give(&session::peer_chain(ssl), out, cap)
}

/// Why the peer's certificate was refused; "" when it was not, or when none was shown.
#[no_mangle]
pub unsafe extern "C" fn postern_conn_verify_error(conn: *mut quiche::Connection, out: *mut u8, cap: usize) -> i32 {
    let Some(ssl) = ssl(conn) else { return no_connection() };
    give(notes(ssl).map_or(&[][..], |notes| notes.refusal.as_bytes()), out, cap)
}

/// The DER leaf that the peer showed, also when it was refused; nothing when it showed none.
#[no_mangle]
pub unsafe extern "C" fn postern_conn_offered_cert(conn: *mut quiche::Connection, out: *mut u8, cap: usize) -> i32 {
    let Some(ssl) = ssl(conn) else { return no_connection() };
    give(notes(ssl).map_or(&[][..], |notes| notes.offered.as_slice()), out, cap)
}

unsafe fn ssl(conn: *mut quiche::Connection) -> Option<*mut ffi::SSL> {
    let ssl: &mut SslRef = conn.as_mut()?.as_mut();
    Some(ssl.as_ptr())
}

fn no_connection() -> i32 {
    number(Err(Failure::from("there is no connection")))
}
