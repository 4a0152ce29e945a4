//! Log lines through the pipe from a daemon process to its supervisor.

use std::io::{self, Write};
use std::sync::Mutex;

use super::{Level, Sink};
use crate::lock::lock;

/// First byte of a line that says its level; everything else is raw output of C code.
const MARK: u8 = 0x01;

/// Writes `\x01`, the level's digit and the text to standard error, which is the pipe.
#[derive(Default)]
pub struct PipeSink {
    // Lines longer than PIPE_BUF of two threads would mix.
    turn: Mutex<()>,
}

impl Sink for PipeSink {
    fn line(&self, level: Level, text: &str) {
        let mut lines = Vec::with_capacity(text.len() + 8);
        for line in text.split('\n') {
            lines.extend_from_slice(&[MARK, b'0' + level as u8]);
            lines.extend_from_slice(line.as_bytes());
            lines.push(b'\n');
        }
        let _turn = lock(&self.turn);
        // When the supervisor has gone there is nobody left to tell.
        let _ = io::stderr().write_all(&lines);
    }
}

/// A line as the supervisor reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PipeLine<'a> {
    /// Written by [`PipeSink`].
    Leveled(Level, &'a [u8]),
    /// Written by something else in the process.
    Raw(&'a [u8]),
}

impl<'a> PipeLine<'a> {
    /// Reads a line, without its line end.
    pub fn parse(line: &'a [u8]) -> Self {
        match line {
            [MARK, digit @ b'1'..=b'8', text @ ..] => {
                PipeLine::Leveled(Level::from_number(digit - b'0'), text)
            }
            raw => PipeLine::Raw(raw),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_marked_lines_have_a_level() {
        assert_eq!(PipeLine::parse(b"\x016late"), PipeLine::Leveled(Level::Notice, b"late"));
        assert_eq!(PipeLine::parse(b"\x019late"), PipeLine::Raw(b"\x019late"));
        assert_eq!(PipeLine::parse(b"6late"), PipeLine::Raw(b"6late"));
        assert_eq!(PipeLine::parse(b""), PipeLine::Raw(b""));
    }
}
