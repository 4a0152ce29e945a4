//! nginx's error log, written by another process than nginx.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::mem::{ManuallyDrop, MaybeUninit};
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use super::{Level, Sink};
use crate::config::ErrorLog;
use crate::lock::lock;

/// A log file that follows its name when it is rotated.
pub struct LogFile {
    threshold: Level,
    path: Option<PathBuf>,
    /// The descriptor that was handed over, which may be the log of others as well.
    file: Mutex<ManuallyDrop<File>>,
}

impl LogFile {
    /// The log that nginx has opened.
    ///
    /// # Errors
    ///
    /// When the descriptor is not open.
    pub fn adopt(log: &ErrorLog) -> io::Result<Self> {
        // SAFETY: the descriptor was handed to this process for this log; nobody closes it.
        let file = ManuallyDrop::new(unsafe { File::from_raw_fd(log.fd) });
        file.metadata()?;
        Ok(LogFile {
            threshold: Level::from_number(log.level),
            path: log.path.clone(),
            file: Mutex::new(file),
        })
    }

    /// The least severe level that is written.
    pub fn threshold(&self) -> Level {
        self.threshold
    }

    /// Writes a line as nginx would, in the name of process `pid`.
    pub fn write(&self, level: Level, pid: i32, text: &[u8]) {
        if level > self.threshold {
            return;
        }
        let mut line = format!("{} [{}] {pid}#{pid}: ", now(), level.name()).into_bytes();
        // A control character could make one line look like two.
        let harmless = |byte: &u8| *byte == b'\t' || !byte.is_ascii_control();
        line.extend(text.iter().map(|byte| if harmless(byte) { *byte } else { b' ' }));
        line.push(b'\n');
        let mut file = self.file();
        self.follow(&file);
        // A log that cannot be written to leaves nowhere to say so.
        let _ = file.write_all(&line);
    }

    /// Follows a rotation that may just have happened.
    pub fn reopen(&self) {
        self.follow(&self.file());
    }

    /// nginx itself makes the new file; until then, and without one, the old file is the log.
    fn follow(&self, file: &File) {
        let Some(path) = &self.path else { return };
        let Some(old) = left_by_its_name(path, file) else { return };
        let Ok(new) = OpenOptions::new().append(true).open(path) else { return };
        // Also standard output and error, where this log is theirs: who holds an old log keeps the
        // disk from being freed when it is deleted.
        for fd in [libc::STDOUT_FILENO, libc::STDERR_FILENO, file.as_raw_fd()] {
            if identity(fd) == Some(old) {
                // SAFETY: replaces one open file by another at a descriptor that stays open.
                unsafe { libc::dup2(new.as_raw_fd(), fd) };
            }
        }
    }

    fn file(&self) -> MutexGuard<'_, ManuallyDrop<File>> {
        lock(&self.file)
    }
}

/// Sends this process's own lines to a log file.
pub struct FileSink(pub Arc<LogFile>);

impl Sink for FileSink {
    fn line(&self, level: Level, text: &str) {
        self.0.write(level, std::process::id() as i32, text.as_bytes());
    }
}

/// Device and inode of an open file whose name has become another's.
fn left_by_its_name(path: &Path, file: &File) -> Option<(u64, u64)> {
    let (open, named) = (identity(file.as_raw_fd())?, path.metadata().ok()?);
    (open != (named.dev(), named.ino())).then_some(open)
}

/// Device and inode of an open file.
fn identity(fd: RawFd) -> Option<(u64, u64)> {
    // SAFETY: only asked about, never closed; one that is not open gives an error.
    let file = ManuallyDrop::new(unsafe { File::from_raw_fd(fd) });
    file.metadata().ok().map(|found| (found.dev(), found.ino()))
}

/// Local time in nginx's format.
fn now() -> String {
    let mut parts = MaybeUninit::<libc::tm>::zeroed();
    // SAFETY: time() with a null pointer only returns the time.
    let seconds = unsafe { libc::time(std::ptr::null_mut()) };
    // SAFETY: both pointers are valid; an all-zero tm is a valid value in case the call fails.
    let parts = unsafe {
        libc::localtime_r(&seconds, parts.as_mut_ptr());
        parts.assume_init()
    };
    format!(
        "{:04}/{:02}/{:02} {:02}:{:02}:{:02}",
        parts.tm_year + 1900,
        parts.tm_mon + 1,
        parts.tm_mday,
        parts.tm_hour,
        parts.tm_min,
        parts.tm_sec
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_has_nginxs_format() {
        let shape: String =
            now().chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        assert_eq!(shape, "0000/00/00 00:00:00");
    }
}
