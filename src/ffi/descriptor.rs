//! Descriptors over unix stream sockets.

use std::fs::File;
use std::mem::{size_of, zeroed, MaybeUninit};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::addr_of_mut;

use libc::{cmsghdr, iovec, msghdr, CMSG_DATA, CMSG_FIRSTHDR, CMSG_LEN};
use nginx_sys::{ngx_buf_t, ngx_connection_error, ngx_connection_t, ngx_errno};

use super::{code, contents};

/// Bytes of a control message with one descriptor.
// SAFETY: computes a length.
const ONE: usize = unsafe { CMSG_LEN(size_of::<RawFd>() as u32) } as usize;

/// Memory for one, aligned as the system wants it.
#[repr(C)]
union Control {
    header: cmsghdr,
    bytes: [u8; ONE],
}

/// What reading gave.
pub struct Received {
    /// What nginx's own function returns: a count, 0 at the end, or a code.
    pub count: isize,
    /// The descriptor that has come along.
    pub descriptor: Option<OwnedFd>,
    /// The system has closed descriptors: there were more than one, or there is no room for one.
    pub dropped: bool,
}

/// Reads from a connection as nginx does (`ngx_unix_recv`), and takes a descriptor along. There is
/// room for one: the system closes all others before anybody sees them.
///
/// # Safety
///
/// `c` is an open connection over a unix stream socket, and `size` bytes can be written to `buf`.
pub unsafe fn receive(c: *mut ngx_connection_t, buf: *mut u8, size: usize) -> Received {
    let none = |count| Received { count, descriptor: None, dropped: false };
    // SAFETY: as the caller guarantees; the events of a connection live as long as it. The message
    // header refers to memory that outlives the call.
    unsafe {
        let event = (*c).read;
        // nginx has read all that the kernel has told it of.
        if (*event).available == 0 && (*event).pending_eof() == 0 {
            (*event).set_ready(0);
            return none(code::AGAIN);
        }
        let mut part = iovec { iov_base: buf.cast(), iov_len: size };
        let mut control = MaybeUninit::<Control>::zeroed();
        let mut message: msghdr = zeroed();
        message.msg_iov = addr_of_mut!(part);
        message.msg_iovlen = 1;
        let count = loop {
            message.msg_control = control.as_mut_ptr().cast();
            message.msg_controllen = ONE as _;
            let flags = libc::MSG_CMSG_CLOEXEC | libc::MSG_DONTWAIT;
            match libc::recvmsg((*c).fd, addr_of_mut!(message), flags) {
                -1 if ngx_errno() == libc::EINTR => {}
                count => break count,
            }
        };
        if count < 0 {
            let error = ngx_errno();
            (*event).set_ready(0);
            if error == libc::EAGAIN {
                return none(code::AGAIN);
            }
            (*event).set_error(1);
            return none(ngx_connection_error(c, error, c"recvmsg() failed".as_ptr().cast_mut()));
        }
        let descriptor = attached(&message);
        let dropped = message.msg_flags & libc::MSG_CTRUNC != 0;
        if count == 0 {
            (*event).set_ready(0);
            (*event).set_eof(1);
        } else if (count as usize) < size && descriptor.is_none() && !dropped {
            // All that there was: reading stops early only behind a descriptor.
            if (*event).pending_eof() == 0 {
                (*event).set_ready(0);
            }
            (*event).available = 0;
        }
        Received { count, descriptor, dropped }
    }
}

/// Sends what a buffer in memory holds, as much as goes, with a descriptor attached. Returns how much
/// that was, or a code of nginx's.
///
/// # Safety
///
/// `c` is an open connection over a unix stream socket, and `b` a buffer that is not empty.
pub unsafe fn send_with(
    c: *mut ngx_connection_t,
    b: *const ngx_buf_t,
    fd: BorrowedFd<'_>,
) -> isize {
    // SAFETY: as the caller guarantees.
    unsafe {
        match attach(c, contents(b), fd) {
            Ok(sent) => {
                (*c).sent += sent as i64;
                sent as isize
            }
            Err(libc::EAGAIN) => {
                (*(*c).write).set_ready(0);
                code::AGAIN
            }
            Err(error) => {
                (*(*c).write).set_error(1);
                ngx_connection_error(c, error, c"sendmsg() failed".as_ptr().cast_mut());
                code::ERROR
            }
        }
    }
}

/// Sends a few bytes with a descriptor attached, ahead of what nginx sends. Whether they have left; a
/// connection that does not take them all fails at once.
///
/// # Safety
///
/// `c` is an open connection over a unix stream socket, and nothing waits to be sent over it.
pub unsafe fn send_whole(c: *mut ngx_connection_t, bytes: &[u8], fd: BorrowedFd<'_>) -> bool {
    // SAFETY: as the caller guarantees.
    unsafe { attach(c, bytes, fd) == Ok(bytes.len()) }
}

/// sendmsg() with a descriptor. The error is the system's.
///
/// # Safety
///
/// `c` is an open connection over a unix stream socket.
unsafe fn attach(c: *mut ngx_connection_t, bytes: &[u8], fd: BorrowedFd<'_>) -> Result<usize, i32> {
    // SAFETY: as the caller guarantees; the message header refers to memory that outlives the call, and
    // the control message fits into its own.
    unsafe {
        let mut part = iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
        let mut control = MaybeUninit::<Control>::zeroed();
        let mut message: msghdr = zeroed();
        message.msg_iov = addr_of_mut!(part);
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = ONE as _;
        let header = CMSG_FIRSTHDR(&message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = ONE as _;
        CMSG_DATA(header).cast::<RawFd>().write_unaligned(fd.as_raw_fd());
        loop {
            let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
            match libc::sendmsg((*c).fd, &message, flags) {
                -1 if ngx_errno() == libc::EINTR => {}
                -1 => return Err(ngx_errno()),
                sent => return Ok(sent as usize),
            }
        }
    }
}

/// The same file, for reading only: whoever gets this descriptor changes nothing in it. `None` when the
/// system refuses.
pub fn read_only(fd: RawFd) -> Option<OwnedFd> {
    File::open(format!("/proc/self/fd/{fd}")).ok().map(OwnedFd::from)
}

/// The descriptor of a message.
///
/// # Safety
///
/// recvmsg() has filled it in, with room for one descriptor; this is the only look at it.
unsafe fn attached(message: &msghdr) -> Option<OwnedFd> {
    // SAFETY: the system has written the control message, which may be missing. The descriptor is
    // new in this process.
    unsafe {
        let header = CMSG_FIRSTHDR(message).as_ref()?;
        let is_one = header.cmsg_level == libc::SOL_SOCKET
            && header.cmsg_type == libc::SCM_RIGHTS
            && header.cmsg_len as usize >= ONE;
        let fd = is_one.then(|| CMSG_DATA(header).cast::<RawFd>().read_unaligned())?;
        Some(OwnedFd::from_raw_fd(fd))
    }
}
