//! Why a call failed, in words for a person, kept per thread until the next failure.

use boring::error::ErrorStack;
use std::cell::RefCell;

use crate::memory::give;

thread_local!(static LAST: RefCell<String> = const { RefCell::new(String::new()) });

/// A failure as text; it names the part (certificate, key, trust, CRL) and what is wrong with it.
pub struct Failure(pub String);

pub type Outcome<T> = Result<T, Failure>;

impl From<&str> for Failure {
    fn from(text: &str) -> Self {
        Failure(text.to_string())
    }
}

impl From<String> for Failure {
    fn from(text: String) -> Self {
        Failure(text)
    }
}

impl From<ErrorStack> for Failure {
    fn from(stack: ErrorStack) -> Self {
        Failure(words(&stack))
    }
}

/// The reason that was pushed first, which is the cause of the others: "wrong tag", "no start line".
pub fn words(stack: &ErrorStack) -> String {
    let reason = stack.errors().first().and_then(|error| error.reason()).unwrap_or("unknown error");
    reason.replace('_', " ").to_lowercase()
}

/// Takes and empties BoringSSL's queue of this thread.
pub fn queued() -> String {
    words(&ErrorStack::get())
}

/// Keeps the failure's text for `postern_last_error`.
pub fn remember(failure: Failure) {
    LAST.with(|last| *last.borrow_mut() = failure.0);
}

/// The result of a call that returns a number: the value, or -1 with the text kept.
pub fn number(outcome: Outcome<i32>) -> i32 {
    match outcome {
        Ok(value) => value,
        Err(failure) => {
            remember(failure);
            -1
        }
    }
}

/// The result of a call that returns a handle: the owned value, or null with the text kept.
pub fn handle<T>(outcome: Outcome<T>) -> *mut T {
    match outcome {
        Ok(value) => Box::into_raw(Box::new(value)),
        Err(failure) => {
            remember(failure);
            std::ptr::null_mut()
        }
    }
}

/// The text of this thread's last failure, UTF-8.
#[no_mangle]
pub unsafe extern "C" fn postern_last_error(out: *mut u8, cap: usize) -> i32 {
    LAST.with(|last| give(last.borrow().as_bytes(), out, cap))
}
