//! Who processes run as.

use nginx_sys::ngx_core_conf_t;
use ngx_wsgi_host::config::Credentials;
use nix::unistd::{geteuid, getgrouplist, Gid, Uid, User};
use thiserror::Error;

use crate::conf::GroupDefinition;

/// The configuration asks for root.
#[derive(Debug, Error)]
#[error("daemon process group \"{0}\": WSGI process blocked from running as root, use \"user=\"")]
pub struct Root(String);

/// Who the group runs as: `user=` and `group=`, else nginx's own user; nobody to switch to when
/// nginx was not started as root.
pub fn of_group(
    group: &GroupDefinition,
    core: &ngx_core_conf_t,
) -> Result<Option<Credentials>, Root> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    let user = group.options.user.as_ref();
    let uid = user.map_or(core.user, |user| user.uid.as_raw());
    if uid == 0 {
        return Err(Root(group.name.clone()));
    }
    let own_group = user.map_or(core.group, |user| user.gid.as_raw());
    let gid = group.options.group.as_ref().map_or(own_group, |group| group.gid.as_raw());
    let groups = match &group.options.supplementary_groups {
        Some(groups) => with_primary(gid, groups),
        None => groups_of(uid, gid),
    };
    Ok(Some(Credentials { uid, gid, groups }))
}

fn with_primary(primary: u32, others: &[Gid]) -> Vec<u32> {
    let mut groups = vec![primary];
    for gid in others.iter().map(|gid| gid.as_raw()) {
        if !groups.contains(&gid) {
            groups.push(gid);
        }
    }
    groups
}

/// nginx's workers, where they are not who started nginx.
pub fn of_workers(core: &ngx_core_conf_t) -> Option<Credentials> {
    let (uid, gid) = (core.user, core.group);
    geteuid().is_root().then(|| Credentials { uid, gid, groups: groups_of(uid, gid) })
}

/// The supplementary groups of a user, from the group database.
fn groups_of(uid: u32, gid: u32) -> Vec<u32> {
    let list = || {
        let user = User::from_uid(Uid::from_raw(uid)).ok()??;
        let name = std::ffi::CString::new(user.name).ok()?;
        getgrouplist(&name, Gid::from_raw(gid)).ok()
    };
    list().map_or_else(|| vec![gid], |groups| groups.iter().map(|group| group.as_raw()).collect())
}
