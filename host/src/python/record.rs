//! Where a line for the log goes.

use tracing::{debug, error, info, warn};

use super::object::Py;
use crate::log::Level;
use crate::wsgi::Current;

/// Logs a line to the request this thread serves, else to the process's own log.
pub fn line(py: Py, level: Level, text: &[u8]) {
    match Current::scope() {
        Some(scope) => {
            let text = printable(text);
            py.detach(|| scope.exchange().log(level, &text));
        }
        None => process(level, &printable(text)),
    }
}

/// Logs a line to the process's own log.
pub fn process(level: Level, text: &[u8]) {
    let number = u64::from(level as u8);
    let text = String::from_utf8_lossy(text);
    match level {
        Level::Debug => debug!(level = number, "{text}"),
        Level::Info | Level::Notice => info!(level = number, "{text}"),
        Level::Warn => warn!(level = number, "{text}"),
        Level::Error | Level::Crit | Level::Alert | Level::Emerg => {
            error!(level = number, "{text}");
        }
    }
}

/// A NUL would end the line in whatever reads the log with C's functions.
fn printable(text: &[u8]) -> std::borrow::Cow<'_, [u8]> {
    if !text.contains(&0) {
        return text.into();
    }
    let escape = |byte: &u8| if *byte == 0 { b"\\x00".to_vec() } else { vec![*byte] };
    text.iter().flat_map(escape).collect::<Vec<u8>>().into()
}
