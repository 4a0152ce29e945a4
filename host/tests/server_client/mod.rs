//! nginx's side of the wire, for tests.
#![allow(dead_code)]

use std::io::{IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use ngx_wsgi_host::wire::{
    Header, Kind, Outcome, RequestEncoder, Target, HEADER_LEN, LAST, NO_BODY,
};
use nix::sys::socket::{
    recvmsg, sendmsg, socketpair, AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags,
    SockFlag, SockType,
};

/// Longest time that anything in a test takes.
pub const LIMIT: Duration = Duration::from_secs(20);

pub struct Client(pub UnixStream);

#[derive(Debug, PartialEq, Eq)]
pub struct Frame {
    pub kind: Kind,
    pub payload: Vec<u8>,
}

/// The frames of one exchange.
#[derive(Debug)]
pub struct Answer {
    pub head: Option<Vec<u8>>,
    pub body: Vec<u8>,
    pub log: Vec<Vec<u8>>,
    pub outcome: Outcome,
}

pub fn request(script: &Path, flags: u8, path: &str) -> Vec<u8> {
    let script = script.as_os_str().as_encoded_bytes();
    let target = Target { flags, id: 7, script, callable: b"application", ..Target::default() };
    let mut encoder = RequestEncoder::new(&target);
    for (name, value) in [
        ("REQUEST_METHOD", "GET"),
        ("REQUEST_URI", path),
        ("SCRIPT_NAME", ""),
        ("PATH_INFO", path),
        ("QUERY_STRING", ""),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
        ("SERVER_NAME", "localhost"),
        ("SERVER_PORT", "80"),
        ("REQUEST_SCHEME", "http"),
    ] {
        encoder.entry(name.as_bytes(), value.as_bytes());
    }
    encoder.finish().unwrap()
}

pub fn frame(kind: Kind, flags: u8, payload: &[u8]) -> Vec<u8> {
    [&Header::new(kind, flags, payload.len() as u32).encode()[..], payload].concat()
}

impl Client {
    /// Both ends of a connection.
    pub fn pair() -> (Self, OwnedFd) {
        let flags = SockFlag::SOCK_CLOEXEC;
        let (a, b) = socketpair(AddressFamily::Unix, SockType::Stream, None, flags).unwrap();
        (Client::from(a), b)
    }

    pub fn connect(path: &Path) -> Self {
        Client::from(OwnedFd::from(UnixStream::connect(path).unwrap()))
    }

    pub fn write(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    pub fn ask(&mut self, path: &str) {
        self.write(&request(Path::new("/app.wsgi"), NO_BODY, path));
    }

    pub fn body(&mut self, bytes: &[u8], last: bool) {
        self.write(&frame(Kind::Body, if last { LAST } else { 0 }, bytes));
    }

    pub fn frame(&mut self) -> Frame {
        let mut header = [0; HEADER_LEN];
        self.0.read_exact(&mut header).unwrap();
        let header = Header::decode(&header).unwrap();
        let mut payload = vec![0; header.len as usize];
        self.0.read_exact(&mut payload).unwrap();
        Frame { kind: header.kind, payload }
    }

    pub fn answer(&mut self) -> Answer {
        let (mut head, mut body, mut log) = (None, Vec::new(), Vec::new());
        loop {
            let Frame { kind, payload } = self.frame();
            match kind {
                Kind::Response => head = Some(payload),
                Kind::Data => body.extend(payload),
                Kind::Log => log.push(payload),
                Kind::End => {
                    let outcome = Outcome::decode(&payload).unwrap();
                    return Answer { head, body, log, outcome };
                }
                other => panic!("{other:?} in an exchange"),
            }
        }
    }

    pub fn send_descriptor(&mut self, bytes: &[u8], file: &impl AsRawFd) {
        let fds = [file.as_raw_fd()];
        let attached = [ControlMessage::ScmRights(&fds)];
        let parts = [IoSlice::new(bytes)];
        let fd = self.0.as_raw_fd();
        let sent = sendmsg::<()>(fd, &parts, &attached, MsgFlags::empty(), None).unwrap();
        assert_eq!(sent, bytes.len());
    }

    /// What is there, and the descriptors that come with it.
    pub fn receive_descriptors(&mut self) -> (Vec<u8>, Vec<OwnedFd>) {
        let (mut bytes, mut control) = (vec![0; 4096], nix::cmsg_space!([RawFd; 8]));
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let fd = self.0.as_raw_fd();
        let message = recvmsg::<()>(fd, &mut parts, Some(&mut control), flags).unwrap();
        let mut descriptors = Vec::new();
        for attached in message.cmsgs().unwrap() {
            let ControlMessageOwned::ScmRights(found) = attached else { continue };
            // SAFETY: the system has just made them.
            descriptors.extend(found.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
        }
        let received = message.bytes;
        bytes.truncate(received);
        (bytes, descriptors)
    }

    /// Whether the connection has been closed, without another byte.
    pub fn is_closed(&mut self) -> bool {
        matches!(self.0.read(&mut [0]), Ok(0))
    }
}

impl From<OwnedFd> for Client {
    fn from(fd: OwnedFd) -> Self {
        nix::fcntl::fcntl(fd.as_fd(), nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::empty()))
            .unwrap();
        let stream = UnixStream::from(fd);
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.set_write_timeout(Some(LIMIT)).unwrap();
        Client(stream)
    }
}

/// Waits until `what` holds.
pub fn until(text: &str, mut what: impl FnMut() -> bool) {
    let limit = Instant::now() + LIMIT;
    while !what() {
        assert!(Instant::now() < limit, "{text}: not within {LIMIT:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
