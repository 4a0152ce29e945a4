//! The border that no panic crosses.

use std::panic::{catch_unwind, AssertUnwindSafe};

use ngx::log::ngx_cycle_log;
use ngx::ngx_log_error;

/// Runs a callback's body; a panic becomes an alert in the log and `fallback`.
pub fn guard<T>(what: &str, fallback: T, body: impl FnOnce() -> T) -> T {
    // A half-changed state after a panic is a bug either way; nginx goes on with other requests.
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(value) => value,
        Err(panic) => {
            let cause = panic
                .downcast_ref::<&str>()
                .map(|s| (*s).to_owned())
                .or_else(|| panic.downcast_ref::<String>().cloned())
                .unwrap_or_default();
            ngx_log_error!(
                nginx_sys::NGX_LOG_ALERT,
                ngx_cycle_log().as_ptr(),
                "wsgi: internal error in {what}: {cause}"
            );
            fallback
        }
    }
}
