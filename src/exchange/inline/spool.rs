//! What an application has produced and its client has not taken yet.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use thiserror::Error;

/// Where it may be, and how much of it there may be.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of streamed blocks in memory (`wsgi_buffers`).
    pub memory: usize,
    /// Bytes in a file (`wsgi_max_temp_file_size`), 0: everything stays in memory.
    pub file: u64,
    /// Where the file is made (`wsgi_temp_path`).
    pub directory: &'static [u8],
}

/// Why a block cannot be kept.
#[derive(Debug, Error)]
pub enum Full {
    #[error("the client takes the response more slowly than it is made, and what waits is over \"wsgi_max_temp_file_size\"")]
    Limit,
    #[error("the response cannot be written to a temporary file in \"wsgi_temp_path\": {0}")]
    Io(#[from] io::Error),
}

/// Bytes in their order: those in memory come first.
#[derive(Default)]
pub struct Spool {
    memory: Vec<u8>,
    file: Option<File>,
    file_len: u64,
}

impl Spool {
    pub fn is_empty(&self) -> bool {
        self.memory.is_empty() && self.file.is_none()
    }

    /// Keeps a block, of which there may be any number.
    pub fn push(&mut self, block: &[u8], limits: &Limits) -> Result<(), Full> {
        let in_memory = limits.file == 0 || self.memory.len() + block.len() <= limits.memory;
        if self.file.is_none() && in_memory {
            self.memory.extend_from_slice(block);
            return Ok(());
        }
        if limits.file != 0 && self.file_len + block.len() as u64 > limits.file {
            return Err(Full::Limit);
        }
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(create(limits.directory)?),
        };
        file.write_all(block)?;
        self.file_len += block.len() as u64;
        Ok(())
    }

    /// Keeps the last block: the application has it in memory as well, whatever its size.
    pub fn push_last(&mut self, block: &[u8], limits: &Limits) -> Result<(), Full> {
        if self.file.is_some() {
            return self.push(block, limits);
        }
        self.memory.extend_from_slice(block);
        Ok(())
    }

    /// What is in memory, and behind it what is in a file from its start, with its length.
    pub fn into_parts(self) -> (Vec<u8>, Option<(File, u64)>) {
        (self.memory, self.file.map(|file| (file, self.file_len)))
    }
}

/// A file without a name.
fn create(directory: &[u8]) -> io::Result<File> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let directory = Path::new(OsStr::from_bytes(directory));
    loop {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let path = directory.join(format!("response-{}-{number}", std::process::id()));
        match OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path) {
            Ok(file) => {
                std::fs::remove_file(&path)?;
                return Ok(file);
            }
            // Somebody with the same pid has died in between.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    fn limits(memory: usize, file: u64) -> Limits {
        Limits { memory, file, directory: b"/tmp" }
    }

    fn content(spool: Spool) -> Vec<u8> {
        let (mut content, file) = spool.into_parts();
        if let Some((file, len)) = file {
            let mut rest = vec![0; len as usize];
            file.read_exact_at(&mut rest, 0).unwrap();
            content.extend(rest);
        }
        content
    }

    #[test]
    fn the_order_is_kept_beyond_the_memory() {
        let (mut spool, limits) = (Spool::default(), limits(5, 100));
        for block in [&b"abc"[..], b"defg", b"h"] {
            spool.push(block, &limits).unwrap();
        }
        spool.push_last(b"ij", &limits).unwrap();
        assert_eq!((spool.memory.len(), spool.file_len), (3, 7));
        assert_eq!(content(spool), b"abcdefghij");
    }

    #[test]
    fn a_last_block_stays_in_memory() {
        let (mut spool, limits) = (Spool::default(), limits(1, 100));
        spool.push_last(&[b'x'; 1000], &limits).unwrap();
        assert!(spool.file.is_none() && !spool.is_empty());
    }

    #[test]
    fn a_file_has_its_limit() {
        let (mut spool, limits) = (Spool::default(), limits(0, 5));
        spool.push(b"abcd", &limits).unwrap();
        assert!(matches!(spool.push(b"ef", &limits), Err(Full::Limit)));
    }

    #[test]
    fn without_a_file_there_is_none() {
        let (mut spool, limits) = (Spool::default(), limits(1, 0));
        spool.push(b"abcd", &limits).unwrap();
        spool.push(b"efgh", &limits).unwrap();
        assert_eq!(content(spool), b"abcdefgh");
    }
}
