//! A zeroed piece of memory, shared between processes or not.

use std::ffi::CStr;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;

use nix::fcntl::{fcntl, FcntlArg, SealFlag};
use nix::sys::memfd::{memfd_create, MFdFlags};
use nix::sys::mman::{madvise, mmap, mmap_anonymous, munmap, MapFlags, MmapAdvise, ProtFlags};
use thiserror::Error;

/// The memory could not be had.
#[derive(Debug, Error)]
#[error("cannot {step} {bytes} bytes of shared memory: {source}")]
pub struct MappingError {
    step: &'static str,
    bytes: usize,
    source: nix::Error,
}

/// A mapping that lives as long as this value in this process.
pub struct Mapping {
    base: NonNull<u8>,
    len: NonZeroUsize,
}

// SAFETY: the mapping is plain memory, which others may change at any time. References into it are to
// atomics only; what is copied in or out is bytes, of which any mixture is valid, and whose order among
// threads that follow the rules is that of an atomic beside them.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// A memfd of `len` bytes (at least one) and its mapping.
    ///
    /// # Errors
    ///
    /// [`MappingError`] when the kernel refuses.
    pub fn create(name: &CStr, len: usize) -> Result<(Self, OwnedFd), MappingError> {
        let fail = |step| move |source| MappingError { step, bytes: len, source };
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        let fd = memfd_create(name, flags).map_err(fail("create"))?;
        nix::unistd::ftruncate(&fd, len.max(1) as i64).map_err(fail("size"))?;
        // Whoever else maps it cannot take the pages away from under nginx.
        let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
        fcntl(&fd, FcntlArg::F_ADD_SEALS(seals)).map_err(fail("seal"))?;
        Ok((Self::open(fd.as_fd(), len)?, fd))
    }

    /// Maps an existing memfd of at least `len` bytes.
    ///
    /// # Errors
    ///
    /// [`MappingError`] when the kernel refuses.
    pub fn open(fd: BorrowedFd<'_>, len: usize) -> Result<Self, MappingError> {
        let size = NonZeroUsize::new(len).unwrap_or(NonZeroUsize::MIN);
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice overlays nothing.
        let base = unsafe { mmap(None, size, protection, MapFlags::MAP_SHARED, fd, 0) }
            .map_err(|source| MappingError { step: "map", bytes: len, source })?;
        Ok(Mapping { base: base.cast(), len: size })
    }

    /// Zeroed memory of this process and of those it forks.
    ///
    /// # Errors
    ///
    /// [`MappingError`] when the kernel refuses.
    pub fn inherited(len: usize) -> Result<Self, MappingError> {
        let size = NonZeroUsize::new(len).unwrap_or(NonZeroUsize::MIN);
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice overlays nothing.
        let base = unsafe { mmap_anonymous(None, size, protection, MapFlags::MAP_SHARED) }
            .map_err(|source| MappingError { step: "map", bytes: len, source })?;
        Ok(Mapping { base: base.cast(), len: size })
    }

    /// Keeps the mapping out of processes forked from this one.
    ///
    /// # Errors
    ///
    /// [`MappingError`] when the kernel refuses.
    pub fn hide_from_children(&self) -> Result<(), MappingError> {
        // SAFETY: the advice changes what fork copies, not this process's view of the mapping.
        unsafe { madvise(self.base.cast(), self.len.get(), MmapAdvise::MADV_DONTFORK) }
            .map_err(|source| MappingError { step: "hide", bytes: self.len.get(), source })
    }

    /// A reference to the `T` at `offset`.
    ///
    /// `T` must be valid for any bit pattern and be changed through `&T` only atomically; this
    /// crate uses atomics and structs of atomics.
    ///
    /// # Panics
    ///
    /// When `T` does not lie inside the mapping or not at its alignment: the layout code is wrong.
    pub(crate) fn at<T>(&self, offset: usize) -> &T {
        assert!(offset.checked_add(size_of::<T>()).is_some_and(|end| end <= self.len.get()));
        // SAFETY: in bounds by the assertion above.
        let place = unsafe { self.base.add(offset) }.cast::<T>();
        assert!(place.is_aligned());
        // SAFETY: in bounds, aligned, mapped for the life of self; contents as documented.
        unsafe { place.as_ref() }
    }

    /// Copies `bytes` to `offset`. What another process writes there at the same time is mixed with them.
    ///
    /// # Panics
    ///
    /// When they do not lie inside the mapping: the layout code is wrong.
    pub(crate) fn write(&self, offset: usize, bytes: &[u8]) {
        assert!(offset.checked_add(bytes.len()).is_some_and(|end| end <= self.len.get()));
        // SAFETY: in bounds by the assertion above, and apart from any Rust object: nobody has a
        // reference into this part of the mapping.
        unsafe {
            std::ptr::copy_nonoverlapping(
                bytes.as_ptr(),
                self.base.as_ptr().add(offset),
                bytes.len(),
            );
        }
    }

    /// Copies from `offset` to all of `out`, under the same conditions.
    ///
    /// # Panics
    ///
    /// As for [`Self::write`].
    pub(crate) fn read(&self, offset: usize, out: &mut [u8]) {
        assert!(offset.checked_add(out.len()).is_some_and(|end| end <= self.len.get()));
        // SAFETY: as in write; whatever is there is good for bytes.
        unsafe {
            std::ptr::copy_nonoverlapping(
                self.base.as_ptr().add(offset),
                out.as_mut_ptr(),
                out.len(),
            );
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: base and len are the mapping's own; references into it borrow self.
        let _ = unsafe { munmap(self.base.cast(), self.len.get()) };
    }
}
