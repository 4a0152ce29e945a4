//! RESPONSE, LOG and END payloads.

use super::frame::{put_bytes, put_u16, BadFrame, Fields, Header, Kind, HEADER_LEN};

/// Bytes that the headers of most responses need.
const USUAL: usize = 256;

/// How an exchange ended, as END says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Outcome {
    /// The response is whole.
    Complete = 0,
    /// The application failed before RESPONSE: nginx answers 500.
    Failed = 1,
    /// The application failed in the middle of the body: the client must see that.
    Aborted = 2,
    /// Another process is to run the request, no application has seen it. Never in an END frame: a
    /// REJECT frame stands in its place.
    Rejected = 3,
}

impl Outcome {
    /// Reads the payload of an END frame.
    ///
    /// # Errors
    ///
    /// [`BadFrame`] when it is not one known byte.
    pub fn decode(payload: &[u8]) -> Result<Self, BadFrame> {
        match payload {
            [0] => Ok(Outcome::Complete),
            [1] => Ok(Outcome::Failed),
            [2] => Ok(Outcome::Aborted),
            [] => Err(BadFrame::Truncated("outcome")),
            _ => Err(BadFrame::Invalid("outcome")),
        }
    }
}

/// Headers of a response in their order, as they travel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    bytes: Vec<u8>,
    count: usize,
}

impl Headers {
    /// Appends one.
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        // Room for all that most responses have.
        self.bytes.reserve(if self.count == 0 { USUAL } else { 0 });
        put_bytes(&mut self.bytes, name);
        put_bytes(&mut self.bytes, value);
        self.count += 1;
    }

    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut fields = Fields(&self.bytes);
        std::iter::from_fn(move || pair(&mut fields).ok())
    }
}

impl<N: AsRef<[u8]>, V: AsRef<[u8]>> FromIterator<(N, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        let mut headers = Headers::default();
        pairs.into_iter().for_each(|(name, value)| headers.push(name.as_ref(), value.as_ref()));
        headers
    }
}

/// Appends a whole RESPONSE frame.
///
/// `status_line` is the application's, code and reason ("404 Not Found"). The caller has validated
/// everything (no control characters); lengths over the limit are refused.
///
/// # Errors
///
/// [`BadFrame::Length`] when the headers are over the limit of a RESPONSE frame.
pub fn encode_head(
    out: &mut Vec<u8>,
    status: u16,
    status_line: &[u8],
    headers: &Headers,
) -> Result<(), BadFrame> {
    // Status, the line's length, and the number of headers.
    const FIXED: usize = 2 + 4 + 2;
    let len = FIXED + status_line.len() + headers.bytes.len();
    let len = u32::try_from(len).unwrap_or(u32::MAX);
    let count = u16::try_from(headers.count).ok();
    let Some(count) = count.filter(|_| len <= super::limit(Kind::Response)) else {
        return Err(BadFrame::Length(Kind::Response, len));
    };
    out.reserve(HEADER_LEN + len as usize);
    out.extend_from_slice(&Header::new(Kind::Response, 0, len).encode());
    put_u16(out, status);
    put_bytes(out, status_line);
    put_u16(out, count);
    out.extend_from_slice(&headers.bytes);
    Ok(())
}

/// A decoded RESPONSE payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head<'a> {
    /// Three-digit status code.
    pub status: u16,
    /// Code and reason phrase.
    pub status_line: &'a [u8],
    headers: Fields<'a>,
    count: u16,
}

impl<'a> Head<'a> {
    /// Reads the payload of a RESPONSE frame and checks that it can go into an HTTP response as it
    /// is: the host may be hostile.
    ///
    /// # Errors
    ///
    /// [`BadFrame`] naming the field that is cut short or holds what HTTP forbids.
    pub fn decode(payload: &'a [u8]) -> Result<Self, BadFrame> {
        let mut fields = Fields(payload);
        let status = fields.u16("status")?;
        // An informational status would leave a body without framing.
        if !(200..=999).contains(&status) {
            return Err(BadFrame::Invalid("status"));
        }
        let status_line = fields.bytes("status line")?;
        let digits = [status / 100, status / 10 % 10, status % 10].map(|digit| b'0' + digit as u8);
        let rest = status_line.strip_prefix(&digits);
        let fits = rest.is_some_and(|rest| matches!(rest.first(), None | Some(b' ')));
        if !fits || status_line.iter().any(|b| forbidden(*b)) {
            return Err(BadFrame::Invalid("status line"));
        }
        let head = Head {
            status,
            status_line,
            count: fields.u16("header count")?,
            headers: fields.clone(),
        };
        let mut rest = head.headers.clone();
        for _ in 0..head.count {
            let (name, value) = pair(&mut rest)?;
            if name.is_empty() || name.iter().any(|b| forbidden(*b) || *b == b':' || *b == b' ') {
                return Err(BadFrame::Invalid("header name"));
            }
            if value.iter().any(|b| matches!(b, b'\r' | b'\n' | 0)) {
                return Err(BadFrame::Invalid("header value"));
            }
        }
        if !rest.0.is_empty() {
            return Err(BadFrame::Invalid("length"));
        }
        Ok(head)
    }

    /// Header names and values in the application's order.
    pub fn headers(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let mut fields = self.headers.clone();
        (0..self.count).map_while(move |_| pair(&mut fields).ok())
    }
}

fn pair<'a>(fields: &mut Fields<'a>) -> Result<(&'a [u8], &'a [u8]), BadFrame> {
    Ok((fields.bytes("header name")?, fields.bytes("header value")?))
}

fn forbidden(byte: u8) -> bool {
    byte < 0x20 || byte == 0x7f
}

/// A decoded LOG payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogRecord<'a> {
    /// nginx's numeric level, 1 (emerg) to 8 (debug).
    pub level: u8,
    /// One line of text, undecoded.
    pub text: &'a [u8],
}

impl<'a> LogRecord<'a> {
    /// Appends a whole LOG frame; text beyond [`super::LOG_MAX`] is for the caller to split.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let text = &self.text[..self.text.len().min(super::LOG_MAX)];
        out.extend_from_slice(&Header::new(Kind::Log, 0, text.len() as u32 + 1).encode());
        out.push(self.level);
        out.extend_from_slice(text);
    }

    /// Reads the payload of a LOG frame.
    ///
    /// # Errors
    ///
    /// [`BadFrame`] when it is empty or the level is none of nginx's.
    pub fn decode(payload: &'a [u8]) -> Result<Self, BadFrame> {
        let mut fields = Fields(payload);
        let level = fields.u8("log level")?;
        if !(1..=8).contains(&level) {
            return Err(BadFrame::Invalid("log level"));
        }
        Ok(LogRecord { level, text: fields.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn head(headers: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
        let mut out = Vec::new();
        let headers = headers.iter().cloned().collect();
        encode_head(&mut out, 200, b"200 OK", &headers).unwrap();
        out
    }

    proptest! {
        #[test]
        fn headers_keep_order_and_repeats(
            headers in proptest::collection::vec(("[A-Za-z-]{1,20}", "[ -~]{0,80}"), 0..30)
        ) {
            let headers: Vec<_> =
                headers.into_iter().map(|(n, v)| (n.into_bytes(), v.into_bytes())).collect();
            let frame = head(&headers);
            let decoded = Head::decode(&frame[HEADER_LEN..]).unwrap();
            let seen: Vec<_> = decoded.headers().map(|(n, v)| (n.to_vec(), v.to_vec())).collect();
            prop_assert_eq!(seen, headers);
        }

        #[test]
        fn no_payload_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Head::decode(&bytes);
            let _ = LogRecord::decode(&bytes);
            let _ = Outcome::decode(&bytes);
        }
    }

    #[test]
    fn a_status_line_of_another_status_is_refused() {
        let decoded = |status, line: &[u8]| {
            let mut out = Vec::new();
            encode_head(&mut out, status, line, &Headers::default()).unwrap();
            Head::decode(&out[HEADER_LEN..]).is_ok()
        };
        assert!(decoded(204, b"204 No Content") && decoded(200, b"200"));
        assert!(!decoded(200, b"204 No Content"));
        assert!(!decoded(200, b"2000"));
        assert!(!decoded(101, b"101 Switching Protocols"));
    }

    #[test]
    fn a_head_over_the_limit_is_refused() {
        let limit = crate::wire::limit(Kind::Response) as usize;
        let encoded = |headers: &Headers| {
            let mut out = b"before".to_vec();
            let encoded = encode_head(&mut out, 200, b"200 OK", headers);
            assert_eq!(encoded.is_ok(), out.len() > 6);
            encoded.is_ok()
        };
        let rest = vec![b'x'; limit - 2 - 4 - 6 - 2 - 4 - 1 - 4];
        assert!(encoded(&[(b"N", &rest[..])].into_iter().collect()));
        assert!(!encoded(&[(&b"NN"[..], &rest[..])].into_iter().collect()));
        let many = |count| std::iter::repeat_n((b"N", b""), count).collect::<Headers>();
        assert!(encoded(&many(65_535)) && !encoded(&many(65_536)));
    }

    #[test]
    fn response_splitting_is_refused() {
        for (name, value) in
            [(&b"X"[..], &b"a\r\nSet-Cookie: b"[..]), (b"X\r\nY", b"a"), (b"X: y", b"a")]
        {
            let frame = head(&[(name.to_vec(), value.to_vec())]);
            assert!(Head::decode(&frame[HEADER_LEN..]).is_err());
        }
    }
}
