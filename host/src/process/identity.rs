//! Who a daemon process is.

use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::{chdir, chroot, getppid, setgroups, setresgid, setresuid, Gid, Pid, Uid};

use super::SetupError;
use crate::config::GroupConfig;

/// Makes `chroot=` the root directory. While still root, and before any other path is used.
pub fn enter_jail(group: &GroupConfig) -> Result<(), SetupError> {
    let Some(jail) = &group.chroot else { return Ok(()) };
    let step = || SetupError::step(format!("make {} the root directory", jail.display()));
    chroot(jail).map_err(step())?;
    chdir("/").map_err(step())
}

/// Takes on the group's identity, for good.
pub fn assume(group: &GroupConfig) -> Result<(), SetupError> {
    if let Some(credentials) = &group.credentials {
        if credentials.uid == 0 {
            return Err(SetupError::Root);
        }
        let (uid, gid) = (Uid::from_raw(credentials.uid), Gid::from_raw(credentials.gid));
        let groups: Vec<Gid> = credentials.groups.iter().copied().map(Gid::from_raw).collect();
        setgroups(&groups).map_err(SetupError::step("set the supplementary groups"))?;
        setresgid(gid, gid, gid).map_err(SetupError::step(format!("set the group to {gid}")))?;
        setresuid(uid, uid, uid).map_err(SetupError::step(format!("set the user to {uid}")))?;
    }
    prctl::set_no_new_privs().map_err(SetupError::step("give up new privileges"))
}

/// Makes the supervisor's death a signal to this process. After the credentials: changing them
/// clears it.
pub fn tie_to(supervisor: Pid, signal: Signal) -> Result<(), SetupError> {
    prctl::set_pdeathsig(signal).map_err(SetupError::step("follow the supervisor"))?;
    // It may have died before the kernel was told.
    if getppid() == supervisor {
        Ok(())
    } else {
        Err(SetupError::Orphaned)
    }
}
