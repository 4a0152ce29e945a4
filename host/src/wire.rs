//! The protocol between nginx and a host process.
//!
//! A connection is a unix stream socket that carries one exchange after another: nginx sends one
//! REQUEST and its body, the host answers RESPONSE, any number of DATA, and END. LOG frames may
//! stand anywhere before END. Every frame is an 8-byte header, little-endian, and a payload:
//!
//! ```text
//! u32 payload length | u8 kind | u8 flags | u16 zero
//! ```
//!
//! A REQUEST with the flag [`HOOK`] is a question to a script; see [`hook`].
//!
//! A response whose body is a file has a FILE frame before its RESPONSE and no DATA; the file's
//! descriptor comes with the bytes of the frame, or of frames before it in the same `sendmsg`. In
//! the same way a BODY_FILE frame stands in the place of the BODY frames of a request.
//!
//! A host in nginx's own process can send a LENT frame in the place of all DATA: nginx reads the body where
//! the application has it.
//!
//! A connection that closes without END is a failed response. Lengths are checked against
//! [`limit`] before anything is allocated.

mod frame;
pub mod hook;
mod request;
mod response;
mod span;

pub use frame::{limit, BadFrame, Header, Kind, BY_MAIL, HEADER_LEN, LAST, LOG_MAX};
pub use request::{
    key, set_flags, set_id, Entries, Entry, Key, Mark, Request, RequestEncoder, Target, AGAIN,
    HEAD_ONLY, HOOK, NO_BODY, NO_FILE, ONCE, QUIET, RELOADING,
};
pub use response::{encode_head, Head, Headers, LogRecord, Outcome};
pub use span::{Span, Unfit, SPAN_FRAME_LEN, STATIC};
