//! Certificate revocation lists from PEM text into a trust store.

use boring::error::ErrorStack;
use boring_sys as ffi;
use std::os::raw::c_int;

use crate::error::{words, Failure, Outcome};

/// Adds every CRL of `pem` to the store and turns on the check of the whole chain. No CRL in the text is an error, so is
/// one that cannot be read: half a list would let the other half's revoked certificates in.
///
/// # Safety
/// `store` must be alive.
pub unsafe fn add_crls(store: *mut ffi::X509_STORE, pem: &[u8]) -> Outcome<()> {
    let length = isize::try_from(pem.len()).map_err(|_| Failure::from("CRL: the text is too long"))?;
    let bio = ffi::BIO_new_mem_buf(pem.as_ptr().cast(), length);
    if bio.is_null() {
        return Err("CRL: out of memory".into());
    }
    let read = read_all(store, bio);
    ffi::BIO_free(bio);
    ffi::ERR_clear_error();
    if read? == 0 {
        return Err("CRL: the text holds no X509 CRL block".into());
    }
    let flags = ffi::X509_V_FLAG_CRL_CHECK | ffi::X509_V_FLAG_CRL_CHECK_ALL;
    if ffi::X509_STORE_set_flags(store, flags as _) != 1 {
        return Err("CRL: checking cannot be turned on".into());
    }
    Ok(())
}

unsafe fn read_all(store: *mut ffi::X509_STORE, bio: *mut ffi::BIO) -> Outcome<usize> {
    let mut count = 0usize;
    ffi::ERR_clear_error();
    loop {
        let crl = ffi::PEM_read_bio_X509_CRL(bio, std::ptr::null_mut(), None, std::ptr::null_mut());
        if crl.is_null() {
            let error = ffi::ERR_peek_last_error();
            let is_end =
                ffi::ERR_GET_LIB(error) == ffi::ERR_LIB_PEM.0 as c_int && ffi::ERR_GET_REASON(error) == ffi::PEM_R_NO_START_LINE;
            if is_end {
                return Ok(count);
            }
            return Err(format!("CRL {}: {}", count + 1, words(&ErrorStack::get())).into());
        }
        let added = ffi::X509_STORE_add_crl(store, crl);
        ffi::X509_CRL_free(crl);
        if added != 1 {
            return Err(format!("CRL {}: {}", count + 1, words(&ErrorStack::get())).into());
        }
        count += 1;
    }
}
