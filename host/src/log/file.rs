//! nginx's error log, written by another process than nginx.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Level, Sink};
use crate::config::ErrorLog;

/// A log file that follows its name when it is rotated.
pub struct LogFile {
    threshold: Level,
    path: Option<PathBuf>,
    file: Mutex<File>,
}

impl LogFile {
    /// The log that nginx has opened.
    ///
    /// # Errors
    ///
    /// When the descriptor is not open.
    pub fn adopt(log: &ErrorLog) -> io::Result<Self> {
        // SAFETY: the descriptor number was handed to this process for this log alone; it is only
        // duplicated here and stays open.
        let given = unsafe { BorrowedFd::borrow_raw(log.fd) };
        let file = Mutex::new(given.try_clone_to_owned()?.into());
        Ok(LogFile { threshold: Level::from_number(log.level), path: log.path.clone(), file })
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
        self.follow(&mut file);
        // A log that cannot be written to leaves nowhere to say so.
        let _ = file.write_all(&line);
    }

    /// Follows a rotation that may just have happened.
    pub fn reopen(&self) {
        self.follow(&mut self.file());
    }

    /// nginx itself makes the new file; until then, and without one, the old file is the log.
    fn follow(&self, file: &mut File) {
        let Some(path) = &self.path else { return };
        if is_another(path, file) {
            if let Ok(new) = OpenOptions::new().append(true).open(path) {
                *file = new;
            }
        }
    }

    fn file(&self) -> MutexGuard<'_, File> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends this process's own lines to a log file.
pub struct FileSink(pub Arc<LogFile>);

impl Sink for FileSink {
    fn line(&self, level: Level, text: &str) {
        self.0.write(level, std::process::id() as i32, text.as_bytes());
    }
}

fn is_another(path: &Path, file: &File) -> bool {
    match (file.metadata(), path.metadata()) {
        (Ok(open), Ok(named)) => (open.dev(), open.ino()) != (named.dev(), named.ino()),
        _ => false,
    }
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
