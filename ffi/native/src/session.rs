//! What is known of one TLS handshake, QUIC's or the TLS end's: the same questions asked of the same `SSL`.

use boring_sys as ffi;
use std::ffi::CStr;
use std::net::IpAddr;
use std::os::raw::c_char;

use crate::error::{Failure, Outcome};
use crate::memory::output;
use crate::verify::notes;

/// Makes the peer's certificate prove this name: an IP address (checked against IP SANs, sent as no SNI) or a DNS name
/// (checked against DNS SANs only, sent as SNI). To be called before the first flight.
///
/// # Safety
/// `ssl` must be alive.
pub unsafe fn expect_name(ssl: *mut ffi::SSL, name: &[u8]) -> Outcome<i32> {
    let text = std::str::from_utf8(name).map_err(|_| Failure::from("the expected name is not text"))?;
    if ffi::SSL_is_server(ssl) == 1 {
        return Err("a server expects no name of its clients".into());
    }
    let notes = notes(ssl).ok_or("out of memory")?;
    if !notes.offered.is_empty() {
        return Err("the expected name comes too late: the peer has already shown its certificate".into());
    }
    let parameters = ffi::SSL_get0_param(ssl);
    let is_set = match text.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => ffi::X509_VERIFY_PARAM_set1_ip(parameters, ip.octets().as_ptr(), 4),
        Ok(IpAddr::V6(ip)) => ffi::X509_VERIFY_PARAM_set1_ip(parameters, ip.octets().as_ptr(), 16),
        Err(_) => expect_dns(ssl, parameters, text)?,
    };
    if is_set != 1 {
        return Err("the expected name cannot be set".into());
    }
    notes.expects_name = true;
    Ok(0)
}

unsafe fn expect_dns(ssl: *mut ffi::SSL, parameters: *mut ffi::X509_VERIFY_PARAM, text: &str) -> Outcome<i32> {
    let host = text.strip_suffix('.').unwrap_or(text);
    if !is_dns_name(host) {
        return Err(format!("{} is neither an IP address nor a DNS name", crate::name::printable(text)).into());
    }
    let mut terminated = host.as_bytes().to_vec();
    terminated.push(0);
    if ffi::SSL_set_tlsext_host_name(ssl, terminated.as_ptr().cast::<c_char>()) != 1 {
        return Err("the server name cannot be set".into());
    }
    let flags = ffi::X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | ffi::X509_CHECK_FLAG_NEVER_CHECK_SUBJECT;
    ffi::X509_VERIFY_PARAM_set_hostflags(parameters, flags as _);
    Ok(ffi::X509_VERIFY_PARAM_set1_host(parameters, host.as_ptr().cast::<c_char>(), host.len()))
}

/// Letters, digits, `-` and `_` in labels of 1 to 63 bytes, 253 at most: no leading dot and no wildcard, which would match
/// more than one name.
fn is_dns_name(host: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    host.len() <= 253 && host.split('.').all(is_label)
}

/// TLS exporter (RFC 8446 §7.5), the context always used, be it empty. Fails before the handshake has ended.
///
/// # Safety
/// `ssl` must be alive and `out` valid for `out_len` bytes.
pub unsafe fn export_key(ssl: *mut ffi::SSL, label: &[u8], context: &[u8], out: *mut u8, out_len: usize) -> Outcome<i32> {
    if ffi::SSL_in_init(ssl) == 1 {
        return Err("no key can be exported before the handshake has ended".into());
    }
    let room = output(out, out_len);
    let done = ffi::SSL_export_keying_material(
        ssl,
        room.as_mut_ptr(),
        room.len(),
        label.as_ptr().cast::<c_char>(),
        label.len(),
        context.as_ptr(),
        context.len(),
        1,
    );
    if done != 1 {
        return Err(crate::error::queued().into());
    }
    i32::try_from(room.len()).map_err(|_| Failure::from("too long"))
}

/// The negotiated group, such as `X25519MLKEM768`; empty before the handshake.
pub unsafe fn group(ssl: *const ffi::SSL) -> &'static [u8] {
    let id = ffi::SSL_get_group_id(ssl);
    if id == 0 {
        return &[];
    }
    static_text(ffi::SSL_get_group_name(id))
}

/// The negotiated cipher suite by its RFC name; empty before the handshake.
pub unsafe fn cipher(ssl: *const ffi::SSL) -> &'static [u8] {
    let suite = ffi::SSL_get_current_cipher(ssl);
    if suite.is_null() {
        return &[];
    }
    static_text(ffi::SSL_CIPHER_standard_name(suite))
}

/// The protocol version, such as `TLSv1.3`.
pub unsafe fn version(ssl: *const ffi::SSL) -> &'static [u8] {
    static_text(ffi::SSL_get_version(ssl))
}

/// The chain as the peer presented it, leaf first: u32 LE length and DER of each.
pub unsafe fn peer_chain(ssl: *const ffi::SSL) -> Vec<u8> {
    let chain = ffi::SSL_get0_peer_certificates(ssl).cast::<ffi::OPENSSL_STACK>();
    let mut bytes = Vec::new();
    if chain.is_null() {
        return bytes;
    }
    for index in 0..ffi::sk_num(chain) {
        let buffer = ffi::sk_value(chain, index).cast::<ffi::CRYPTO_BUFFER>();
        let der = crate::memory::input(ffi::CRYPTO_BUFFER_data(buffer), ffi::CRYPTO_BUFFER_len(buffer));
        append(&mut bytes, der);
    }
    bytes
}

/// Appends u32 LE length and bytes.
pub fn append(bytes: &mut Vec<u8>, der: &[u8]) {
    bytes.extend_from_slice(&u32::try_from(der.len()).unwrap_or(0).to_le_bytes());
    bytes.extend_from_slice(der);
}

unsafe fn static_text(text: *const c_char) -> &'static [u8] {
    if text.is_null() {
        return &[];
    }
    CStr::from_ptr(text).to_bytes()
}
