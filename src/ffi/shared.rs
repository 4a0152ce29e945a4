//! Memory that a process shares with the children it forks.

use std::num::NonZeroUsize;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, AtomicU8};

use nix::sys::mman::{mmap_anonymous, munmap, MapFlags, ProtFlags};

/// Types that may be shared: all zeroes are a value of them, and what changes in them changes
/// atomically.
///
/// # Safety
///
/// Both has to be true.
pub unsafe trait Shareable {}

// SAFETY: an atomic number.
unsafe impl Shareable for AtomicU8 {}
// SAFETY: an atomic number.
unsafe impl Shareable for AtomicU64 {}
// SAFETY: an array of what may be shared.
unsafe impl<T: Shareable, const N: usize> Shareable for [T; N] {}

/// A zeroed slice, shared with all processes that are forked from this one.
pub struct SharedSlice<T> {
    base: NonNull<T>,
    len: NonZeroUsize,
}

impl<T: Shareable> SharedSlice<T> {
    /// `len` is at least one.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub fn new(len: usize) -> nix::Result<Self> {
        let len = NonZeroUsize::new(len).unwrap_or(NonZeroUsize::MIN);
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice overlays nothing.
        let base =
            unsafe { mmap_anonymous(None, size::<T>(len), protection, MapFlags::MAP_SHARED) }?;
        Ok(SharedSlice { base: base.cast(), len })
    }
}

fn size<T>(len: NonZeroUsize) -> NonZeroUsize {
    let element = NonZeroUsize::new(size_of::<T>()).unwrap_or(NonZeroUsize::MIN);
    len.saturating_mul(element)
}

impl<T> Deref for SharedSlice<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: len elements are mapped at the page-aligned base as long as self lives; they are
        // values that change only atomically, as `new` demands.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr(), self.len.get()) }
    }
}

impl<T> Drop for SharedSlice<T> {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own, and references into it borrow it.
        let _ = unsafe { munmap(self.base.cast(), size::<T>(self.len).get()) };
    }
}
