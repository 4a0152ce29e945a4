//! Memory of bytes objects that somebody without Python reads: lent by a thread that is attached, given
//! back by any thread, dropped by one that is attached again.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use pyo3::ffi;

use super::object::{Object, Py};
use crate::lock::lock;

/// Bytes that may be lent in a process at a time: what slow clients keep in memory. The rest goes
/// nginx's ordinary way, into its buffers and temporary files.
pub const LENT_MAX: usize = 64 << 20;

/// Bytes of all objects that are lent, or are back and not dropped yet.
static LENT: AtomicUsize = AtomicUsize::new(0);

/// The beginning of a bytes object, which neither changes nor goes away as long as this lives.
pub struct Lent {
    object: Reference,
    len: usize,
    home: Arc<Returned>,
}

/// A reference to a bytes object of `size` bytes, which is dropped in its interpreter only.
struct Reference {
    object: NonNull<ffi::PyObject>,
    size: usize,
}

// SAFETY: without the GIL only the bytes are used, which never change; the reference is given up by an
// attached thread.
unsafe impl Send for Reference {}

/// What has come back to an interpreter.
#[derive(Default)]
pub struct Returned {
    references: Mutex<Vec<Reference>>,
    /// Called when something is back.
    announce: OnceLock<Announce>,
}

/// Tells somebody that references wait to be dropped. Called on any thread; never waits.
pub type Announce = Arc<dyn Fn() + Send + Sync>;

impl Lent {
    /// Lends the first `len` bytes of an object. `None`: it is no plain bytes object, or too much is lent
    /// already. `home` belongs to the interpreter that the thread is attached to.
    pub fn new(py: Py, object: &Object, len: usize, home: &Arc<Returned>) -> Option<Self> {
        home.collect(py);
        // SAFETY: a live object.
        if unsafe { ffi::PyBytes_CheckExact(object.as_ptr()) } == 0 {
            return None;
        }
        let size = object.as_bytes()?.len();
        let grow = |lent: usize| lent.checked_add(size).filter(|lent| *lent <= LENT_MAX);
        LENT.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grow).ok()?;
        let object = object.clone().into_ptr();
        // SAFETY: the pointer of an object is never null.
        let object = Reference { object: unsafe { NonNull::new_unchecked(object) }, size };
        Some(Lent { object, len: len.min(size), home: Arc::clone(home) })
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: a live object that was checked to be bytes: their memory is part of it, and asking for
        // its address reads nothing that changes. len is at most its size.
        unsafe {
            let start = ffi::PyBytes_AsString(self.object.object.as_ptr()).cast::<u8>();
            std::slice::from_raw_parts(start, self.len)
        }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let Reference { object, size } = self.object;
        lock(&self.home.references).push(Reference { object, size });
        if let Some(announce) = self.home.announce.get() {
            announce();
        }
    }
}

impl Returned {
    /// Somebody is told from now on when something is back.
    pub fn announce_to(&self, announce: &Announce) {
        // Set once, before anything is lent.
        let _ = self.announce.set(Arc::clone(announce));
    }

    /// Whether nothing waits to be dropped.
    pub fn is_empty(&self) -> bool {
        lock(&self.references).is_empty()
    }

    /// Drops what has come back, on a thread that is attached to the interpreter.
    pub fn collect(&self, _: Py) {
        // Not while the list is locked, though no Python runs when plain bytes go.
        let references = std::mem::take(&mut *lock(&self.references));
        for Reference { object, size } in references {
            // SAFETY: attached to the object's interpreter; the reference was Lent's.
            unsafe { ffi::Py_DECREF(object.as_ptr()) };
            LENT.fetch_sub(size, Ordering::Relaxed);
        }
    }
}
