//! Which part of a URL an alias takes.

/// Matches `uri` (decoded) against the URL-path of an alias, as Apache's Alias does: case-sensitive,
/// at a path-segment boundary, a run of slashes matching any run. Returns how many bytes of `uri`
/// the alias takes; the rest is empty or starts with a slash.
pub fn matched_len(alias: &[u8], uri: &[u8]) -> Option<usize> {
    let (mut a, mut u) = (0, 0);
    while a < alias.len() {
        if alias[a] == b'/' {
            if uri.get(u) != Some(&b'/') {
                return None;
            }
            a += run(&alias[a..]);
            let slashes = run(&uri[u..]);
            if a == alias.len() {
                // The slashes after the mount belong to the rest: "/" mounts at "".
                return Some(u);
            }
            u += slashes;
        } else {
            if uri.get(u) != Some(&alias[a]) {
                return None;
            }
            a += 1;
            u += 1;
        }
    }
    matches!(uri.get(u), None | Some(b'/')).then_some(u)
}

/// Whether everything that `later` takes is taken by `earlier` already.
pub fn covers(earlier: &[u8], later: &[u8]) -> bool {
    matched_len(earlier, later).is_some()
}

/// Runs of slashes as one, as SCRIPT_NAME and PATH_INFO have them.
pub fn collapse(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    for byte in path {
        if *byte != b'/' || out.last() != Some(&b'/') {
            out.push(*byte);
        }
    }
    out
}

fn run(path: &[u8]) -> usize {
    path.iter().take_while(|byte| **byte == b'/').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_ends_at_a_segment() {
        assert_eq!(matched_len(b"/app", b"/app"), Some(4));
        assert_eq!(matched_len(b"/app", b"/app/x"), Some(4));
        assert_eq!(matched_len(b"/app", b"/apple"), None);
        assert_eq!(matched_len(b"/app", b"/ap"), None);
        assert_eq!(matched_len(b"/App", b"/app"), None);
    }

    #[test]
    fn the_root_takes_everything_and_has_an_empty_name() {
        assert_eq!(matched_len(b"/", b"/"), Some(0));
        assert_eq!(matched_len(b"/", b"/a/b"), Some(0));
    }

    #[test]
    fn a_trailing_slash_is_required_and_given_back() {
        assert_eq!(matched_len(b"/app/", b"/app"), None);
        assert_eq!(matched_len(b"/app/", b"/app/x"), Some(4));
    }

    #[test]
    fn runs_of_slashes_match_each_other() {
        assert_eq!(matched_len(b"/a//b", b"/a/b/c"), Some(4));
        assert_eq!(matched_len(b"/a/b", b"//a///b"), Some(7));
        assert_eq!(collapse(b"//a///b/"), b"/a/b/");
    }

    #[test]
    fn shadowing_is_seen() {
        assert!(covers(b"/", b"/app"));
        assert!(covers(b"/app", b"/app/admin"));
        assert!(!covers(b"/app", b"/apple"));
    }
}
