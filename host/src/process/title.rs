//! The process title that `ps` shows.

use std::env;
use std::ffi::CString;
use std::fs;
use std::slice;

use nix::sys::prctl;

/// The memory behind `/proc/self/cmdline`: the arguments and, right behind them, the environment
/// that the process was started with.
#[derive(Clone, Copy, Debug, Default)]
pub struct Title {
    start: usize,
    len: usize,
}

impl Title {
    /// Frees the area for titles: arguments and environment move elsewhere.
    ///
    /// To be called once, early, from the only thread; the caller has read its arguments.
    pub fn claim() -> Self {
        for (name, value) in env::vars_os().collect::<Vec<_>>() {
            // Set again, a variable lives in memory of libc's own.
            env::set_var(name, value);
        }
        area().unwrap_or_default()
    }

    /// Shows `title`, cut to what fits.
    pub fn set(&self, title: &str) {
        if let Ok(name) = CString::new(title.replace('\0', " ")) {
            // The kernel cuts it to 15 bytes.
            let _ = prctl::set_name(&name);
        }
        if self.len == 0 {
            return;
        }
        // SAFETY: the kernel reported this range as this process's arguments and environment, so it
        // is mapped and writable. claim() moved the environment out, the arguments have been read,
        // and only the one thread of a supervisor or of a process it has just forked writes here.
        let area = unsafe { slice::from_raw_parts_mut(self.start as *mut u8, self.len) };
        let shown = title.len().min(area.len() - 1);
        area[..shown].copy_from_slice(&title.as_bytes()[..shown]);
        area[shown..].fill(0);
    }
}

/// Where arguments and environment lie, from the fields arg_start to env_end of proc_pid_stat(5).
fn area() -> Option<Title> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
    // The first field behind the name is number 3.
    let field = |number: usize| fields.get(number - 3)?.parse::<usize>().ok();
    let (start, arg_end, env_start, env_end) = (field(48)?, field(49)?, field(50)?, field(51)?);
    // The kernel lays the executable's name right behind them. Where it isn't, these are not this
    // process's own but, for one, those of the valgrind it runs under.
    // SAFETY: reads what the kernel passed to the process at its start.
    if unsafe { libc::getauxval(libc::AT_EXECFN) } as usize != env_end {
        return None;
    }
    let end = if arg_end == env_start { env_end } else { arg_end };
    let len = end.checked_sub(start).filter(|len| *len > 1)?;
    (start != 0).then_some(Title { start, len })
}
