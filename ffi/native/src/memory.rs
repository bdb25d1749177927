//! Bytes across the boundary: pointer and length in, pointer and capacity out.

use std::slice;

/// The caller's bytes. A null pointer or a zero length is the empty slice.
///
/// # Safety
/// `pointer` must be valid for `length` bytes for as long as the result is used.
pub unsafe fn input<'a>(pointer: *const u8, length: usize) -> &'a [u8] {
    if pointer.is_null() || length == 0 || isize::try_from(length).is_err() {
        return &[];
    }
    slice::from_raw_parts(pointer, length)
}

/// The caller's buffer. A null pointer or a zero length is the empty slice.
///
/// # Safety
/// As for [`input`], and nobody else may use the buffer meanwhile.
pub unsafe fn output<'a>(pointer: *mut u8, length: usize) -> &'a mut [u8] {
    if pointer.is_null() || length == 0 || isize::try_from(length).is_err() {
        return &mut [];
    }
    slice::from_raw_parts_mut(pointer, length)
}

/// Writes `bytes` if they fit and returns their length, whether they fitted or not.
///
/// # Safety
/// As for [`output`].
pub unsafe fn give(bytes: &[u8], out: *mut u8, cap: usize) -> i32 {
    if let Some(room) = output(out, cap).get_mut(..bytes.len()) {
        room.copy_from_slice(bytes);
    }
    i32::try_from(bytes.len()).unwrap_or(-1)
}
