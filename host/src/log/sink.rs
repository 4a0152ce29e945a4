//! Brings `tracing` events to wherever this process logs.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use super::Level;

/// Where the lines of this process go: a pipe to the supervisor, the error log itself, or nginx's
/// event loop. Called from any thread, never with a lock held.
pub trait Sink: Send + Sync {
    /// Writes one line, without a line end.
    fn line(&self, level: Level, text: &str);
}

static SINK: RwLock<Option<Arc<dyn Sink>>> = RwLock::new(None);
static THRESHOLD: AtomicU8 = AtomicU8::new(Level::Info as u8);

/// Makes `sink` the log of this process and `threshold` the least severe level that reaches it.
/// A later call replaces both: a daemon process starts with its supervisor's.
pub fn install(sink: Box<dyn Sink>, threshold: Level) {
    THRESHOLD.store(threshold as u8, Ordering::Relaxed);
    *SINK.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::from(sink));
    // Fails from the second call on, when the subscriber is there.
    let _ = tracing::subscriber::set_global_default(Forward);
}

/// `tracing` has five levels, nginx eight: events carry nginx's in the field `level` where the
/// five are too few.
struct Forward;

impl Subscriber for Forward {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("ngx_wsgi")
            && from_tracing(*metadata.level()) as u8
                <= THRESHOLD.load(Ordering::Relaxed).max(Level::Error as u8)
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line { text: String::new(), level: from_tracing(*event.metadata().level()) };
        event.record(&mut line);
        if line.level as u8 > THRESHOLD.load(Ordering::Relaxed) {
            return;
        }
        let sink = SINK.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(sink) = sink {
            sink.line(line.level, &line.text);
        }
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

struct Line {
    text: String,
    level: Level,
}

impl Visit for Line {
    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "level" {
            self.level = Level::from_number(value as u8);
        } else {
            self.record_debug(field, &value);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        // Writing to a String cannot fail.
        let _ = match field.name() {
            "message" => write!(self.text, "{value:?}"),
            name => write!(self.text, ", {name}: {value:?}"),
        };
    }
}

fn from_tracing(level: tracing::Level) -> Level {
    match level {
        tracing::Level::ERROR => Level::Error,
        tracing::Level::WARN => Level::Warn,
        tracing::Level::INFO => Level::Info,
        _ => Level::Debug,
    }
}
