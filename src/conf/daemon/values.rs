//! Sizes, users and other values of options.

use std::path::{Path, PathBuf};

use nix::unistd::{geteuid, Gid, Group, Uid, User};

use super::{seconds, value_error, OptionError};

/// The least that Python allows for threads of its own.
const STACK_MIN: u64 = 32 << 10;
/// Largest value of what the system takes as an int.
const INT_MAX: u64 = i32::MAX as u64;

/// Bytes, with nginx's suffixes k, m and g; 0 is `None`, anything else at least `min`.
pub fn size(what: &str, value: &str, min: u64) -> Result<Option<u64>, OptionError> {
    let reason = match min {
        0 => "must be a size in bytes, or with k, m or g".to_owned(),
        min => format!("must be 0 or a size of at least {min} bytes"),
    };
    match bytes(value) {
        Some(0) => Ok(None),
        Some(size) if size >= min => Ok(Some(size)),
        _ => Err(value_error(what, value, reason)),
    }
}

fn bytes(value: &str) -> Option<u64> {
    let (digits, shift) = match value.as_bytes().last()?.to_ascii_lowercase() {
        b'k' => (&value[..value.len() - 1], 10),
        b'm' => (&value[..value.len() - 1], 20),
        b'g' => (&value[..value.len() - 1], 30),
        _ => (value, 0),
    };
    let number: u64 = digits.parse().ok().filter(|_| !digits.starts_with('+'))?;
    number.checked_mul(1 << shift).filter(|size| i64::try_from(*size).is_ok())
}

/// Size of a socket's buffer: 0 leaves it to the system.
pub fn buffer_size(what: &str, value: &str) -> Result<Option<u64>, OptionError> {
    let bad = || value_error(what, value, format!("must be 0 or from 512 to {INT_MAX} bytes"));
    let size = size(what, value, 512).map_err(|_| bad())?;
    if size.is_some_and(|size| size > INT_MAX) {
        return Err(bad());
    }
    Ok(size)
}

pub fn stack_size(what: &str, value: &str) -> Result<usize, OptionError> {
    let bad = || value_error(what, value, format!("must be from {STACK_MIN} to {INT_MAX} bytes"));
    let size = bytes(value).filter(|size| (STACK_MIN..=INT_MAX).contains(size));
    size.and_then(|size| usize::try_from(size).ok()).ok_or_else(bad)
}

/// On or off, in either case.
pub fn switch(what: &str, value: &str) -> Result<bool, OptionError> {
    match &*value.to_ascii_lowercase() {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(value_error(what, value, "must be \"On\" or \"Off\"")),
    }
}

/// Seconds; 0 is `None`.
pub fn period(what: &'static str, value: &str) -> Result<Option<u32>, OptionError> {
    seconds(what, value).map(|period| (period > 0).then_some(period))
}

pub fn milliseconds(what: &str, value: &str) -> Result<u32, OptionError> {
    let bad = || value_error(what, value, "must be a number of milliseconds");
    value.parse().ok().filter(|n| u64::from(*n) <= INT_MAX).ok_or_else(bad)
}

/// What setpriority() takes.
pub fn priority(what: &str, value: &str) -> Result<i32, OptionError> {
    let bad = || value_error(what, value, "must be a number from -20 to 20");
    value.parse().ok().filter(|n| (-20..=20).contains(n)).ok_or_else(bad)
}

/// What listen() takes.
pub fn backlog(what: &str, value: &str) -> Result<i32, OptionError> {
    let bad = || value_error(what, value, "must be a number of 0 or more");
    value.parse().ok().filter(|n| *n >= 0).ok_or_else(bad)
}

/// A user by name or `#uid`; the number needs no entry in the user database.
pub fn uid(what: &str, value: &str) -> Result<Uid, OptionError> {
    if let Some(number) = value.strip_prefix('#') {
        return id(number).map(Uid::from_raw).ok_or_else(|| value_error(what, value, "not a uid"));
    }
    let found = User::from_name(value).map_err(|error| value_error(what, value, error))?;
    found.map(|user| user.uid).ok_or_else(|| value_error(what, value, "no such user"))
}

/// A group by name or `#gid`; the number needs no entry in the group database.
pub fn gid(what: &str, value: &str) -> Result<Gid, OptionError> {
    if let Some(number) = value.strip_prefix('#') {
        return id(number).map(Gid::from_raw).ok_or_else(|| value_error(what, value, "not a gid"));
    }
    let found = Group::from_name(value).map_err(|error| value_error(what, value, error))?;
    found.map(|group| group.gid).ok_or_else(|| value_error(what, value, "no such group"))
}

/// The largest number is the system's word for "no change".
fn id(number: &str) -> Option<u32> {
    number.parse().ok().filter(|id| *id != u32::MAX)
}

/// Groups separated by commas, no more than the system allows beside the primary one.
pub fn gids(what: &str, value: &str) -> Result<Vec<Gid>, OptionError> {
    let groups: Vec<Gid> =
        value.split(',').map(|name| gid(what, name)).collect::<Result<_, _>>()?;
    let limit = nix::unistd::sysconf(nix::unistd::SysconfVar::NGROUPS_MAX).ok().flatten();
    if limit.is_some_and(|limit| groups.len() as i64 >= limit) {
        return Err(value_error(what, value, "more groups than the system allows"));
    }
    Ok(groups)
}

/// The directory of a chroot, without a slash at its end.
pub fn jail(what: &'static str, value: &str) -> Result<PathBuf, OptionError> {
    let path = super::absolute(what, value)?;
    if !geteuid().is_root() {
        return Err(value_error(what, value, "nginx must be started as root"));
    }
    if !path.is_dir() {
        return Err(value_error(what, value, "no such directory"));
    }
    let path: PathBuf = path.components().collect();
    Ok(if path == Path::new("/") { PathBuf::new() } else { path })
}
