//! Paths as processes of a chroot see them (mod_wsgi semantics h.8).

/// A file inside the jail; `None` for one outside.
pub fn file<'a>(jail: &[u8], path: &'a [u8]) -> Option<&'a [u8]> {
    path.strip_prefix(jail).filter(|rest| rest.starts_with(b"/"))
}

/// A directory, which may be the jail itself.
pub fn directory<'a>(jail: &[u8], path: &'a [u8]) -> Option<&'a [u8]> {
    if path == jail {
        return Some(b"/");
    }
    file(jail, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_ends_at_a_segment() {
        assert_eq!(file(b"/jail", b"/jail/a.wsgi"), Some(&b"/a.wsgi"[..]));
        assert_eq!(file(b"/jail", b"/jailed/a.wsgi"), None);
        assert_eq!(file(b"/jail", b"/srv/jail/a.wsgi"), None);
        assert_eq!(file(b"/jail", b"/jail"), None);
    }

    #[test]
    fn a_directory_may_be_the_jail() {
        assert_eq!(directory(b"/jail", b"/jail"), Some(&b"/"[..]));
        assert_eq!(directory(b"/jail", b"/jail/www"), Some(&b"/www"[..]));
        assert_eq!(directory(b"/jail", b"/jailed"), None);
    }

    #[test]
    fn the_root_directory_changes_nothing() {
        assert_eq!(file(b"", b"/srv/a.wsgi"), Some(&b"/srv/a.wsgi"[..]));
        assert_eq!(directory(b"", b"/srv"), Some(&b"/srv"[..]));
    }
}
