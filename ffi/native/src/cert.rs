//! Reading certificates with the parser that verifies them.
//!
//! DER or PEM comes in; a summary of names, times and digests goes out. A name that decides something is given whole or
//! the certificate is refused: nothing is cut at a NUL, replaced or skipped.

use boring::x509::{X509Ref, X509};
use boring_sys as ffi;
use foreign_types_shared::ForeignType;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::config::certificates;
use crate::error::{number, queued, words, Failure, Outcome};
use crate::memory::{give, input};
use crate::name;
use crate::session::append;

const DER_BYTES_MAX: usize = 65_536;
const NAMES_MAX: usize = 1024;
const LAYOUT_VERSION: u8 = 1;
const HAS_COMMON_NAME: u8 = 1;
const IS_SELF_SIGNED: u8 = 2;

/// The summary of one DER certificate:
/// `u8` layout version 1, `u8` flags (1 has a common name, 2 self-signed), `i64` not before, `i64` not after (milliseconds
/// since the epoch), 32 bytes SHA-256 of the certificate, 32 bytes SHA-256 of its SubjectPublicKeyInfo, then texts, each
/// `u16` length and UTF-8: serial (hexadecimal), common name, subject, issuer, and three lists, each a `u16` count and its
/// texts: DNS names, URIs, IP addresses. All integers little-endian.
#[no_mangle]
pub unsafe extern "C" fn postern_cert_summary(der: *const u8, der_len: usize, out: *mut u8, cap: usize) -> i32 {
    number(summary(input(der, der_len)).map(|bytes| give(&bytes, out, cap)))
}

/// Every certificate of a PEM text, in its order: `u32` LE length and DER of each.
#[no_mangle]
pub unsafe extern "C" fn postern_pem_certificates(pem: *const u8, pem_len: usize, out: *mut u8, cap: usize) -> i32 {
    let read = || -> Outcome<i32> {
        let mut bytes = Vec::new();
        for certificate in certificates(input(pem, pem_len), "certificate")? {
            append(&mut bytes, &certificate.to_der()?);
        }
        Ok(give(&bytes, out, cap))
    };
    number(read())
}

unsafe fn summary(der: &[u8]) -> Outcome<Vec<u8>> {
    if der.len() > DER_BYTES_MAX {
        return Err("the certificate is too long".into());
    }
    let certificate = parse(der)?;
    let x509 = certificate.as_ptr();
    let common_name = common_name(x509)?;
    let names = alternative_names(x509)?;
    let is_self_signed = is_self_signed(x509);

    let mut bytes = Vec::with_capacity(512);
    bytes.push(LAYOUT_VERSION);
    bytes.push(u8::from(common_name.is_some()) * HAS_COMMON_NAME + u8::from(is_self_signed) * IS_SELF_SIGNED);
    bytes.extend_from_slice(&milliseconds(ffi::X509_get0_notBefore(x509))?.to_le_bytes());
    bytes.extend_from_slice(&milliseconds(ffi::X509_get0_notAfter(x509))?.to_le_bytes());
    bytes.extend_from_slice(&boring::sha::sha256(der));
    bytes.extend_from_slice(&boring::sha::sha256(&public_key_info(x509)?));
    put_text(&mut bytes, &serial(&certificate)?)?;
    put_text(&mut bytes, common_name.as_deref().unwrap_or(""))?;
    put_text(&mut bytes, &name::text(ffi::X509_get_subject_name(x509)))?;
    put_text(&mut bytes, &name::text(ffi::X509_get_issuer_name(x509)))?;
    for list in [&names.dns, &names.uris, &names.addresses] {
        put_length(&mut bytes, list.len())?;
        for text in list {
            put_text(&mut bytes, text)?;
        }
    }
    ffi::ERR_clear_error();
    Ok(bytes)
}

/// One certificate and nothing behind it, its extensions sound.
unsafe fn parse(der: &[u8]) -> Outcome<X509> {
    let certificate = X509::from_der(der).map_err(|error| Failure(format!("not a certificate: {}", words(&error))))?;
    if certificate.to_der()?.len() != der.len() {
        return Err("not a certificate: there are bytes behind it".into());
    }
    if ffi::X509_get_extension_flags(certificate.as_ptr()) & ffi::EXFLAG_INVALID as u32 != 0 {
        return Err("the certificate has a broken extension".into());
    }
    Ok(certificate)
}

/// The last common name of the subject: where there are several the last is the most specific (RFC 4514 §2.1).
unsafe fn common_name(x509: *const ffi::X509) -> Outcome<Option<String>> {
    let subject = ffi::X509_get_subject_name(x509);
    let mut last = -1;
    loop {
        let next = ffi::X509_NAME_get_index_by_NID(subject, ffi::NID_commonName, last);
        if next < 0 {
            break;
        }
        last = next;
    }
    if last < 0 {
        return Ok(None);
    }
    let value = ffi::X509_NAME_ENTRY_get_data(ffi::X509_NAME_get_entry(subject, last));
    let mut utf8: *mut u8 = std::ptr::null_mut();
    let length = ffi::ASN1_STRING_to_UTF8(&mut utf8, value);
    let Ok(length) = usize::try_from(length) else {
        return Err(format!("the common name cannot be read: {}", queued()).into());
    };
    let text = name::strict(input(utf8, length)).map(str::to_string);
    ffi::OPENSSL_free(utf8.cast());
    text.map(Some).ok_or("the common name is empty or has control or invisible characters".into())
}

#[derive(Default)]
struct AlternativeNames {
    dns: Vec<String>,
    uris: Vec<String>,
    addresses: Vec<String>,
}

unsafe fn alternative_names(x509: *const ffi::X509) -> Outcome<AlternativeNames> {
    // -1 afterwards: there is no such extension; -2: there is more than one.
    let mut criticality = 0;
    let names =
        ffi::X509_get_ext_d2i(x509, ffi::NID_subject_alt_name, &mut criticality, std::ptr::null_mut()).cast::<ffi::GENERAL_NAMES>();
    if names.is_null() {
        return if criticality == -1 {
            Ok(AlternativeNames::default())
        } else {
            Err("the subject alternative names are broken".into())
        };
    }
    let read = read_names(names.cast::<ffi::OPENSSL_STACK>());
    ffi::GENERAL_NAMES_free(names);
    read
}

unsafe fn read_names(names: *const ffi::OPENSSL_STACK) -> Outcome<AlternativeNames> {
    let mut read = AlternativeNames::default();
    let count = ffi::sk_num(names);
    if count > NAMES_MAX {
        return Err("the certificate has too many names".into());
    }
    for index in 0..count {
        let Some(entry) = ffi::sk_value(names, index).cast::<ffi::GENERAL_NAME>().as_ref() else { continue };
        match entry.type_ {
            ffi::GEN_DNS => read.dns.push(ascii(content(entry.d.dNSName), "DNS name")?),
            ffi::GEN_URI => read.uris.push(ascii(content(entry.d.uniformResourceIdentifier), "URI")?),
            ffi::GEN_IPADD => read.addresses.push(address(content(entry.d.iPAddress))?),
            // Other kinds of names decide nothing here.
            _ => {}
        }
    }
    Ok(read)
}

unsafe fn content<'a>(string: *const ffi::ASN1_STRING) -> &'a [u8] {
    input(ffi::ASN1_STRING_get0_data(string), usize::try_from(ffi::ASN1_STRING_length(string)).unwrap_or(0))
}

fn ascii(bytes: &[u8], kind: &str) -> Outcome<String> {
    name::strict_ascii(bytes)
        .map(str::to_string)
        .ok_or_else(|| Failure(format!("a {kind} of the certificate is not printable ASCII")))
}

fn address(bytes: &[u8]) -> Outcome<String> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Ok(Ipv4Addr::from(v4).to_string());
    }
    if let Ok(v6) = <[u8; 16]>::try_from(bytes) {
        return Ok(Ipv6Addr::from(v6).to_string());
    }
    Err("an IP address of the certificate has neither 4 nor 16 bytes".into())
}

/// Its own issuer by name, and its own key verifies its signature.
unsafe fn is_self_signed(x509: *mut ffi::X509) -> bool {
    let key = ffi::X509_get0_pubkey(x509);
    !key.is_null()
        && ffi::X509_NAME_cmp(ffi::X509_get_subject_name(x509), ffi::X509_get_issuer_name(x509)) == 0
        && ffi::X509_verify(x509, key) == 1
}

unsafe fn milliseconds(time: *const ffi::ASN1_TIME) -> Outcome<i64> {
    let mut seconds = 0i64;
    if ffi::ASN1_TIME_to_posix(time, &mut seconds) != 1 {
        return Err("a time of the certificate cannot be read".into());
    }
    Ok(seconds.saturating_mul(1000))
}

unsafe fn public_key_info(x509: *const ffi::X509) -> Outcome<Vec<u8>> {
    let mut der: *mut u8 = std::ptr::null_mut();
    let length = ffi::i2d_X509_PUBKEY(ffi::X509_get_X509_PUBKEY(x509), &mut der);
    let Ok(length) = usize::try_from(length) else {
        return Err("the certificate's key cannot be read".into());
    };
    let bytes = input(der, length).to_vec();
    ffi::OPENSSL_free(der.cast());
    Ok(bytes)
}

/// Lower-case hexadecimal of the magnitude, whole octets, no leading zero octets; zero is `00`; negative ones begin with `-`.
fn serial(certificate: &X509Ref) -> Outcome<String> {
    let number = certificate.serial_number().to_bn()?;
    let digits = number.to_vec();
    let hex: String = if digits.is_empty() { "00".into() } else { digits.iter().map(|octet| format!("{octet:02x}")).collect() };
    Ok(if number.is_negative() { format!("-{hex}") } else { hex })
}

fn put_length(bytes: &mut Vec<u8>, length: usize) -> Outcome<()> {
    let length = u16::try_from(length).map_err(|_| Failure::from("a name of the certificate is too long"))?;
    bytes.extend_from_slice(&length.to_le_bytes());
    Ok(())
}

fn put_text(bytes: &mut Vec<u8>, text: &str) -> Outcome<()> {
    put_length(bytes, text.len())?;
    bytes.extend_from_slice(text.as_bytes());
    Ok(())
}
