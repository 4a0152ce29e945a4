//! Which process this is, and its core configuration.

use std::os::fd::RawFd;
use std::ptr::addr_of;

use nginx_sys::{
    ngx_core_conf_t, ngx_core_module, ngx_cycle_t, ngx_exiting, ngx_log_get_file_log, ngx_log_t,
    ngx_pid, ngx_process, ngx_quit, ngx_terminate, ngx_test_config, ngx_worker,
};

use super::bytes;

/// What kind of nginx process the code runs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// `master_process off`, or a process that is still starting.
    Single,
    /// The master.
    Master,
    /// `nginx -s`.
    Signaller,
    /// A worker.
    Worker,
    /// Cache manager or loader.
    Helper,
}

impl Role {
    /// The calling process.
    pub fn current() -> Self {
        // SAFETY: nginx writes this variable only on the thread that runs our callbacks.
        match unsafe { ngx_process } as u32 {
            nginx_sys::NGX_PROCESS_MASTER => Role::Master,
            nginx_sys::NGX_PROCESS_SIGNALLER => Role::Signaller,
            nginx_sys::NGX_PROCESS_WORKER => Role::Worker,
            nginx_sys::NGX_PROCESS_HELPER => Role::Helper,
            _ => Role::Single,
        }
    }

    /// Whether the configuration is only being checked (`nginx -t`).
    pub fn testing() -> bool {
        // SAFETY: set once while the command line is read.
        unsafe { ngx_test_config != 0 }
    }

    /// Whether a signal has told the master to end, at once or gracefully. While it does anything,
    /// its signals are blocked and wait; while nginx starts, they are handled.
    pub fn told_to_end() -> bool {
        const ENDS: [libc::c_int; 3] = [libc::SIGTERM, libc::SIGINT, libc::SIGQUIT];
        // SAFETY: word-sized flags that nginx's signal handler sets, read as such; the set is
        // initialised by the call that fills it.
        unsafe {
            let mut pending = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
            let blocked = libc::sigpending(pending.as_mut_ptr()) == 0
                && ENDS.iter().any(|signal| libc::sigismember(pending.as_ptr(), *signal) == 1);
            let flag = |flag: *const nginx_sys::sig_atomic_t| flag.read_volatile() != 0;
            blocked || flag(addr_of!(ngx_terminate)) || flag(addr_of!(ngx_quit))
        }
    }

    /// Whether the process is on its way out, at once (`true`) or gracefully.
    pub fn ending() -> Option<bool> {
        // SAFETY: both are word-sized flags; the event thread reads them as nginx itself does.
        let (terminate, exiting) = unsafe { (ngx_terminate != 0, ngx_exiting != 0) };
        (terminate || exiting).then_some(terminate)
    }
}

/// Whether requests are handled in this process.
pub fn is_worker() -> bool {
    matches!(Role::current(), Role::Worker | Role::Single)
}

/// The worker's slot: the same for a worker and its successor.
pub fn worker_index() -> usize {
    if Role::current() == Role::Worker {
        // SAFETY: set before init_process of a worker and never changed.
        unsafe { ngx_worker }
    } else {
        0
    }
}

/// The pid of this nginx process, which nginx has asked the kernel for.
pub fn pid() -> u32 {
    // SAFETY: set when the process begins and not changed while it handles requests.
    unsafe { ngx_pid as u32 }
}

/// Random numbers of the kernel's; 0 where it has none.
pub fn random<const N: usize>() -> [u64; N] {
    let mut numbers = [0u64; N];
    // SAFETY: the kernel writes at most as many bytes as there are, and any bytes are a number.
    unsafe {
        libc::getrandom(numbers.as_mut_ptr().cast(), size_of_val(&numbers), libc::GRND_NONBLOCK)
    };
    numbers
}

/// The core module's configuration of a cycle.
pub fn core_conf(cycle: &ngx_cycle_t) -> Option<&ngx_core_conf_t> {
    // SAFETY: the core module's index is fixed before any configuration is read, and conf_ctx has
    // an entry for each module of the cycle.
    unsafe {
        let index = (*addr_of!(ngx_core_module)).index;
        (*cycle.conf_ctx.add(index)).cast::<ngx_core_conf_t>().as_ref()
    }
}

/// How many processes serve requests, 1 or more.
pub fn worker_count(core: &ngx_core_conf_t) -> usize {
    if core.master == 0 {
        return 1;
    }
    usize::try_from(core.worker_processes).unwrap_or(1).max(1)
}

/// The descriptor and name of a log that is a file.
pub fn file_log(log: *mut ngx_log_t) -> Option<(RawFd, Option<Vec<u8>>)> {
    // SAFETY: a log of the cycle or of a server; the chain lives in the cycle's pool.
    unsafe {
        let file = ngx_log_get_file_log(log).as_ref()?.file.as_ref()?;
        let name = bytes(&file.name);
        Some((file.fd, (!name.is_empty()).then(|| name.to_vec())))
    }
}

/// The level of a log.
pub fn log_level(log: *mut ngx_log_t) -> u8 {
    // SAFETY: as above.
    let level = unsafe { (*log).log_level } & 0xf;
    level.clamp(1, 8) as u8
}
