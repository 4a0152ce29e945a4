//! How long a thread waits for the GIL, for the request events that tell it.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// Waits of one thread.
#[derive(Clone, Copy, Debug, Default)]
pub struct Waits {
    pub time: Duration,
    pub count: u64,
}

thread_local! {
    /// `None` while nobody wants to know: reading the clock costs more than asking this.
    static WAITS: Cell<Option<Waits>> = const { Cell::new(None) };
}

/// Measures the calling thread's waits from here on.
pub fn start() {
    WAITS.set(Some(Waits::default()));
}

/// Ends the measuring and says what has been measured.
pub fn stop() -> Waits {
    WAITS.take().unwrap_or_default()
}

/// Runs `acquire`, which takes the GIL, as a wait for it.
pub fn waiting(acquire: impl FnOnce()) {
    let Some(waits) = WAITS.get() else { return acquire() };
    let since = Instant::now();
    acquire();
    WAITS.set(Some(Waits { time: waits.time + since.elapsed(), count: waits.count + 1 }));
}
