//! What daemon processes write to their log pipes, cut into lines.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::unistd::read;

/// Longest line that is kept together.
const LONGEST: usize = 8 << 10;
/// Most that is read at a time, so that one process does not keep the others waiting.
const AT_ONCE: usize = 64 << 10;

/// The reading end of a log pipe, in non-blocking mode.
pub struct LogPipe {
    pipe: OwnedFd,
    lines: Lines,
    open: bool,
}

impl LogPipe {
    /// Reads from `pipe`.
    pub fn new(pipe: OwnedFd) -> Self {
        LogPipe { pipe, lines: Lines::default(), open: true }
    }

    /// Whether more may come.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// Hands over the lines that have arrived, within a bound.
    pub fn read(&mut self, mut line: impl FnMut(&[u8])) -> bool {
        let mut buffer = [0; 16 << 10];
        let mut total = 0;
        while self.open && total < AT_ONCE {
            match read(&self.pipe, &mut buffer) {
                Ok(n @ 1..) => {
                    total += n;
                    self.lines.push(&buffer[..n], &mut line);
                }
                Err(Errno::EAGAIN) => return false,
                Err(Errno::EINTR) => {}
                Ok(0) | Err(_) => self.open = false,
            }
        }
        self.open
    }

    /// Hands over all that is left of a process that has ended.
    pub fn drain(&mut self, mut line: impl FnMut(&[u8])) {
        // Bounded: children that the process left behind may go on writing.
        for _ in 0..16 {
            if !self.read(&mut line) {
                break;
            }
        }
        self.lines.finish(line);
    }
}

impl AsFd for LogPipe {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

/// Cuts a stream into lines.
#[derive(Default)]
struct Lines {
    partial: Vec<u8>,
}

impl Lines {
    fn push(&mut self, data: &[u8], mut line: impl FnMut(&[u8])) {
        for piece in data.split_inclusive(|byte| *byte == b'\n') {
            match piece.split_last() {
                Some((b'\n', text)) => {
                    self.append(text, &mut line);
                    line(&self.partial);
                    self.partial.clear();
                }
                _ => self.append(piece, &mut line),
            }
        }
    }

    fn finish(&mut self, mut line: impl FnMut(&[u8])) {
        if !self.partial.is_empty() {
            line(&self.partial);
            self.partial.clear();
        }
    }

    /// Keeps a part of a line; what is too long leaves in pieces that all have the line's level.
    fn append(&mut self, mut text: &[u8], mut line: impl FnMut(&[u8])) {
        while self.partial.len() + text.len() > LONGEST {
            let (head, tail) = text.split_at(LONGEST - self.partial.len());
            self.partial.extend_from_slice(head);
            line(&self.partial);
            let mark = if self.partial[0] == 1 { 2 } else { 0 };
            self.partial.truncate(mark);
            text = tail;
        }
        self.partial.extend_from_slice(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(parts: &[&[u8]]) -> Vec<Vec<u8>> {
        let (mut lines, mut seen) = (Lines::default(), Vec::new());
        parts.iter().for_each(|part| lines.push(part, |line| seen.push(line.to_vec())));
        lines.finish(|line| seen.push(line.to_vec()));
        seen
    }

    #[test]
    fn lines_come_whole_however_they_arrive() {
        assert_eq!(cut(&[b"a", b"b\n\nc", b"d"]), [&b"ab"[..], b"", b"cd"]);
    }

    #[test]
    fn a_long_line_leaves_in_pieces_of_its_level() {
        let long = [b"\x014", &[b'x'; LONGEST * 2][..], b"\n"].concat();
        let seen = cut(&[&long]);
        assert_eq!(seen.len(), 3);
        assert!(seen.iter().all(|line| line.starts_with(b"\x014") && line.len() <= LONGEST));
        let text: usize = seen.iter().map(|line| line.len() - 2).sum();
        assert_eq!(text, LONGEST * 2);
    }
}
