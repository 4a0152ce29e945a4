//! Looking at files with the rights of somebody else.

use ngx_wsgi_host::config::Credentials;
use nix::unistd::{getegid, geteuid, getgroups, setfsgid, setfsuid, setgroups, Gid, Uid};

/// Looks at files with the rights of somebody else. `None` when root may not do that here, or
/// nobody has been named: nginx's own default is not known while it reads its configuration.
pub fn with_rights_of<T>(who: &Credentials, look: impl FnOnce() -> T) -> Option<T> {
    if who.uid == u32::MAX {
        return None;
    }
    let _own = Rights::take(who)?;
    Some(look())
}

/// The groups to go back to. Of an identity only what files are looked at with is exchanged, and
/// master and configuration run on one thread.
struct Rights(Vec<Gid>);

impl Rights {
    fn take(who: &Credentials) -> Option<Self> {
        let own = Rights(getgroups().ok()?);
        let groups: Vec<Gid> = who.groups.iter().copied().map(Gid::from_raw).collect();
        setgroups(&groups).ok()?;
        setfsgid(Gid::from_raw(who.gid));
        setfsuid(Uid::from_raw(who.uid));
        // They don't say whether they failed; asked once more, they say what holds.
        let taken = setfsuid(Uid::from_raw(who.uid)).as_raw() == who.uid;
        taken.then_some(own)
    }
}

impl Drop for Rights {
    fn drop(&mut self) {
        setfsuid(geteuid());
        setfsgid(getegid());
        // Root was allowed to change them a moment ago.
        let _ = setgroups(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_are_taken_and_given_back() {
        if !geteuid().is_root() {
            return;
        }
        let path = std::env::temp_dir().join(format!("ngx-wsgi-rights-{}", std::process::id()));
        std::fs::write(&path, "").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&path, mode).unwrap();
        let groups = getgroups().unwrap();
        let nobody = Credentials { uid: 65534, gid: 65534, groups: vec![65534] };
        let seen = with_rights_of(&nobody, || std::fs::read(&path).is_err());
        assert_eq!(seen, Some(true));
        assert!(std::fs::read(&path).is_ok());
        assert_eq!(getgroups().unwrap(), groups);
        let unknown = Credentials { uid: u32::MAX, gid: 0, groups: Vec::new() };
        assert_eq!(with_rights_of(&unknown, || ()), None);
        std::fs::remove_file(path).unwrap();
    }
}
