//! Names in certificates as text that is safe to print, and the strict reading of those that decide something.

use boring_sys as ffi;
use std::os::raw::c_ulong;

/// Names longer than this are not read; RFC 5280 allows 64 characters in a common name.
pub const NAME_BYTES_MAX: usize = 4096;

/// A distinguished name in RFC 2253 form, for people and logs: control characters come out escaped.
///
/// # Safety
/// `name` must be null or alive.
pub unsafe fn text(name: *const ffi::X509_NAME) -> String {
    if name.is_null() {
        return String::new();
    }
    let bio = ffi::BIO_new(ffi::BIO_s_mem());
    if bio.is_null() {
        return String::new();
    }
    // Without ESC_MSB letters outside ASCII stay readable instead of becoming \C3\A9.
    let flags = (ffi::XN_FLAG_RFC2253 & !ffi::ASN1_STRFLGS_ESC_MSB) as c_ulong;
    let mut bytes: *const u8 = std::ptr::null();
    let mut length = 0usize;
    let mut result = String::new();
    if ffi::X509_NAME_print_ex(bio, name, 0, flags) >= 0 && ffi::BIO_mem_contents(bio, &mut bytes, &mut length) == 1 {
        result = printable(&String::from_utf8_lossy(crate::memory::input(bytes, length.min(NAME_BYTES_MAX))));
    }
    ffi::BIO_free(bio);
    ffi::ERR_clear_error();
    result
}

/// The text with everything escaped that could forge a line or turn the reading direction.
pub fn printable(text: &str) -> String {
    text.chars().flat_map(|c| if is_hidden(c) { c.escape_unicode().collect::<Vec<_>>() } else { vec![c] }).collect()
}

/// The bytes as a name that may decide something: UTF-8, not empty, nothing hidden in it. None otherwise, never a part.
pub fn strict(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?;
    (!text.is_empty() && text.len() <= NAME_BYTES_MAX && !text.chars().any(is_hidden)).then_some(text)
}

/// As [`strict`], and within printable ASCII: DNS names and URIs of a certificate (RFC 5280 §4.2.1.6, IA5String).
pub fn strict_ascii(bytes: &[u8]) -> Option<&str> {
    strict(bytes).filter(|text| text.bytes().all(|byte| byte.is_ascii_graphic()))
}

/// Control characters, invisible characters and those that change the direction of writing.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
        || matches!(c, '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}
