//! Takes a host's bytes apart, wherever reads cut them.

use std::ops::Range;

use ngx_wsgi_host::wire::{BadFrame, Header, Kind, HEADER_LEN};

/// What the next bytes are.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    /// A whole frame that is not body; its payload is in [`FrameReader::payload`].
    Frame(Kind),
    /// Body bytes, as a range of the input.
    Data(Range<usize>),
}

/// Reads frames. Payloads other than body that come in pieces are gathered here, so that a frame may be
/// longer than any buffer of nginx's.
#[derive(Default)]
pub struct FrameReader {
    header: [u8; HEADER_LEN],
    have: usize,
    current: Option<Header>,
    flags: u8,
    left: usize,
    /// Where the payload is in the input, if it is there as a whole.
    whole: Option<Range<usize>>,
    payload: Vec<u8>,
}

impl FrameReader {
    /// The next piece of `input` from `*at` on, which moves past it. `None`: all input is used.
    ///
    /// # Errors
    ///
    /// [`BadFrame`] for a header that breaks the protocol, or a frame that no host sends.
    pub fn next(&mut self, input: &[u8], at: &mut usize) -> Result<Option<Piece>, BadFrame> {
        loop {
            let Some(header) = self.current else {
                if !self.read_header(input, at)? {
                    return Ok(None);
                }
                continue;
            };
            let piece = self.left.min(input.len() - *at);
            let range = *at..*at + piece;
            *at = range.end;
            self.left -= piece;
            let complete = self.left == 0;
            if complete {
                self.current = None;
            }
            if header.kind != Kind::Data {
                if complete && self.payload.is_empty() {
                    self.whole = Some(range);
                } else {
                    self.payload.extend_from_slice(&input[range]);
                }
                return Ok(complete.then_some(Piece::Frame(header.kind)));
            }
            if piece > 0 {
                return Ok(Some(Piece::Data(range)));
            }
            if !complete {
                return Ok(None);
            }
        }
    }

    /// Payload of the frame that was reported last, given the input that it was reported for.
    pub fn payload<'a>(&'a self, input: &'a [u8]) -> &'a [u8] {
        match &self.whole {
            Some(range) => input.get(range.clone()).unwrap_or_default(),
            None => &self.payload,
        }
    }

    /// Its flags.
    pub fn flags(&self) -> u8 {
        self.flags
    }

    /// Length of the RESPONSE frame that is being read, as soon as it is known.
    pub fn response_len(&self) -> Option<usize> {
        self.current
            .filter(|header| header.kind == Kind::Response)
            .map(|header| header.len as usize)
    }

    fn read_header(&mut self, input: &[u8], at: &mut usize) -> Result<bool, BadFrame> {
        let piece = (HEADER_LEN - self.have).min(input.len() - *at);
        self.header[self.have..self.have + piece].copy_from_slice(&input[*at..*at + piece]);
        self.have += piece;
        *at += piece;
        if self.have < HEADER_LEN {
            return Ok(false);
        }
        let header = Header::decode(&self.header)?;
        if matches!(header.kind, Kind::Request | Kind::Body | Kind::BodyFile) {
            return Err(BadFrame::Unexpected(header.kind));
        }
        self.have = 0;
        self.left = header.len as usize;
        self.flags = header.flags;
        self.payload.clear();
        self.whole = None;
        self.current = Some(header);
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: Kind, payload: &[u8]) -> Vec<u8> {
        let mut out = Header::new(kind, 0, payload.len() as u32).encode().to_vec();
        out.extend_from_slice(payload);
        out
    }

    type Frames = Vec<(Kind, Vec<u8>)>;

    fn read(chunks: &[&[u8]]) -> Result<(Frames, Vec<u8>), BadFrame> {
        let (mut reader, mut frames, mut data) = (FrameReader::default(), Vec::new(), Vec::new());
        for chunk in chunks {
            let mut at = 0;
            while let Some(piece) = reader.next(chunk, &mut at)? {
                match piece {
                    Piece::Frame(kind) => frames.push((kind, reader.payload(chunk).to_vec())),
                    Piece::Data(range) => data.extend_from_slice(&chunk[range]),
                }
            }
            assert_eq!(at, chunk.len());
        }
        Ok((frames, data))
    }

    #[test]
    fn frames_survive_every_cut() {
        let mut stream = frame(Kind::Log, b"\x04oops");
        stream.extend(frame(Kind::Data, b"hello"));
        stream.extend(frame(Kind::Data, b""));
        stream.extend(frame(Kind::Data, b" world"));
        stream.extend(frame(Kind::End, b"\0"));
        let whole = read(&[&stream]).unwrap();
        assert_eq!(whole.1, b"hello world");
        assert_eq!(whole.0, [(Kind::Log, b"\x04oops".to_vec()), (Kind::End, vec![0])]);
        for cut in 0..stream.len() {
            assert_eq!(read(&[&stream[..cut], &stream[cut..]]).unwrap(), whole, "cut at {cut}");
        }
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(read(&bytes).unwrap(), whole);
    }

    #[test]
    fn a_frame_of_the_wrong_direction_is_refused() {
        assert!(read(&[&frame(Kind::Request, b"")]).is_err());
        assert!(read(&[&[0, 0, 0, 0, 99, 0, 0, 0]]).is_err());
    }

    #[test]
    fn an_empty_frame_at_the_end_of_input_is_seen() {
        assert_eq!(read(&[&frame(Kind::GoAway, b"")]).unwrap().0, [(Kind::GoAway, vec![])]);
    }
}
