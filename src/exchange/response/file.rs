//! A file as the body of a host's answer: nginx sends it as it does its own static files.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nginx_sys::{NGX_HTTP_OK, NGX_HTTP_UPSTREAM_IGN_XA_REDIRECT};
use ngx_wsgi_host::wire::{BadFrame, Kind, Outcome, Span, STATIC};

use super::bad_frame;
use crate::exchange::Exchange;
use crate::ffi::{chain_of, file_buf, Request};

/// A part of a file that the host has passed.
pub struct PassedFile {
    fd: OwnedFd,
    span: Span,
    is_static: bool,
    /// nginx's limit of the client's rate, and whether it is final.
    limit_rate: (usize, bool),
}

impl PassedFile {
    /// Reads a FILE frame.
    ///
    /// # Errors
    ///
    /// [`BadFrame`] when its descriptor is missing, or nginx must not read from that.
    pub fn new(payload: &[u8], flags: u8, descriptor: Option<OwnedFd>) -> Result<Self, BadFrame> {
        let span = Span::decode(payload)?;
        let fd = descriptor.ok_or(BadFrame::NoDescriptor(Kind::File))?;
        span.check(fd.as_fd()).map_err(|unfit| BadFrame::File(Kind::File, unfit))?;
        Ok(PassedFile { is_static: flags & STATIC != 0, ..PassedFile::of(fd, span) })
    }

    /// A file that an application in this process has opened, and that fits.
    pub fn of(fd: OwnedFd, span: Span) -> Self {
        PassedFile { fd, span, is_static: true, limit_rate: (0, false) }
    }

    /// Whether nginx answers requests for ranges itself: not when the application says that there are
    /// none.
    pub fn has_ranges(&mut self, status: u32, accept_ranges: &[u8]) -> bool {
        self.is_static &= accept_ranges.eq_ignore_ascii_case(b"bytes");
        self.is_static && status == NGX_HTTP_OK
    }
}

/// Lets nginx pass the file on, whose exchange is complete. Its pipe is for memory: files go the
/// unbuffered way.
pub fn prepare(r: Request, exchange: &mut Exchange) {
    let Some(file) = &mut exchange.file else { return };
    file.limit_rate = r.limit_rate();
    // SAFETY: the upstream of a live request, with its configuration.
    let u = unsafe { &mut *r.upstream() };
    u.set_buffering(0);
    // SAFETY: as above.
    let ignored = unsafe { (*u.conf).ignore_headers } & NGX_HTTP_UPSTREAM_IGN_XA_REDIRECT as usize;
    let stays = u.headers_in.x_accel_redirect.is_null() || ignored != 0;
    if file.is_static && u.headers_in.status_n == NGX_HTTP_OK as usize && stays {
        r.allow_ranges();
        // nginx compares only responses that it could keep with what the client has (If-None-Match
        // and the like). Nothing is kept: there is no cache, and begin takes it back.
        u.set_cacheable(1);
    }
}

/// The response's header has gone to nginx's filters.
pub fn begin(r: Request, exchange: &Exchange) {
    let Some(file) = &exchange.file else { return };
    // SAFETY: the upstream of a live request.
    unsafe { (*r.upstream()).set_cacheable(0) };
    // An unbuffered response is not limited, because that would hold back what the application waits
    // to be rid of.
    r.set_limit_rate(file.limit_rate);
}

/// Hands the file to nginx, which is all that there is of the body. `None` without memory.
pub fn pass(r: Request, exchange: &mut Exchange) -> Option<()> {
    // SAFETY: the upstream of a live request.
    let u = unsafe { &mut *r.upstream() };
    let Some(file) = exchange.file.take() else { return Some(()) };
    let Span { offset, len } = file.span;
    let len = exchange.admit(usize::try_from(len).unwrap_or(usize::MAX));
    if !exchange.is_whole(Outcome::Complete) {
        bad_frame(r.log(), BadFrame::Invalid("length"));
        u.set_error(1);
        return Some(());
    }
    u.length = 0;
    if len == 0 {
        return Some(());
    }
    // SAFETY: null, or what nginx notes of the upstream.
    if let Some(state) = unsafe { u.state.as_mut() } {
        state.response_length += len as i64;
    }
    let name = format!("file of {}", String::from_utf8_lossy(&exchange.target.route.script));
    let fd = r.keep(file.fd)?;
    // SAFETY: the descriptor is open as long as the request's pool lives, and the chain is the pool's.
    unsafe {
        let fd = fd.as_ref().as_raw_fd();
        let buf = file_buf(r, fd, &name, offset as i64, len as i64)?;
        let mut out = chain_of(r.pool());
        out.push(buf).then_some(())?;
        u.out_bufs = out.head();
    }
    Some(())
}
