//! Which part of a URL an alias takes.

use std::borrow::Cow;

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

/// How many bytes of `uri` a regular expression takes whose match ends at `end`: all up to there.
/// The rest goes behind the target; from the root's match on, its slash does too. `None`: nothing.
pub fn location_len(uri: &[u8], end: usize) -> Option<usize> {
    match &uri[..end] {
        b"" => None,
        b"/" => Some(0),
        _ => Some(end),
    }
}

/// The part of `uri` that `path_info` is not: SCRIPT_NAME, which ends at a segment boundary. Where a
/// target has lost part of the URL, `path_info` is not at its end, and all of the URL is the name.
pub fn before<'a>(uri: &'a [u8], path_info: &[u8]) -> &'a [u8] {
    let common = uri.iter().rev().zip(path_info.iter().rev()).take_while(|(a, b)| a == b).count();
    let from = uri.len() - common;
    let end = uri[from..].iter().position(|byte| *byte == b'/').map_or(uri.len(), |at| from + at);
    &uri[..end]
}

/// Runs of slashes as one, as SCRIPT_NAME and PATH_INFO have them.
pub fn collapse(path: &[u8]) -> Cow<'_, [u8]> {
    if !path.windows(2).any(|pair| pair == b"//") {
        return Cow::Borrowed(path);
    }
    let mut out = Vec::with_capacity(path.len());
    for byte in path {
        if *byte != b'/' || out.last() != Some(&b'/') {
            out.push(*byte);
        }
    }
    Cow::Owned(out)
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
        assert_eq!(*collapse(b"//a///b/"), *b"/a/b/");
        assert_eq!(*collapse(b"/a/b/"), *b"/a/b/");
    }

    #[test]
    fn a_match_takes_all_up_to_its_end() {
        assert_eq!(location_len(b"/app/x", 4), Some(4));
        assert_eq!(location_len(b"/app/x", 1), Some(0));
        assert_eq!(location_len(b"/app/x", 0), None);
    }

    #[test]
    fn the_name_is_what_path_info_leaves() {
        assert_eq!(before(b"/app/x/y", b"/x/y"), b"/app");
        assert_eq!(before(b"/app/x/y", b"/y"), b"/app/x");
        assert_eq!(before(b"/app", b""), b"/app");
        assert_eq!(before(b"/x", b"/x"), b"");
        // Lost by the target: what agrees is only part of a segment.
        assert_eq!(before(b"/app/hello", b"/jello"), b"/app/hello");
        assert_eq!(before(b"/app/hello/x", b"/none/x"), b"/app/hello");
    }
}
