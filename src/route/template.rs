//! The target of a wsgi_script_alias_match: a path with `$0` to `$9` in it.

use std::ops::Range;

use thiserror::Error;

/// How many groups of a regular expression a target can name, the whole match included.
pub const GROUPS: usize = 10;

/// What the groups of a regular expression have matched, as ranges of the URL.
pub type Captures = [Option<Range<usize>>; GROUPS];

/// A path whose parts are text and groups of a match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(Vec<u8>),
    Group(usize),
}

/// A target that says nothing.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum BadTemplate {
    #[error(
        "only \"$0\" to \"$9\" can stand for parts of the URL, write \"\\$\" for a dollar sign"
    )]
    Dollar,
    #[error("\"${0}\" names a group that the regular expression does not have")]
    Group(usize),
}

impl Template {
    /// Reads a target. `groups` is how many groups the regular expression has, the whole match
    /// included. A backslash makes the dollar sign after it plain text.
    ///
    /// # Errors
    ///
    /// [`BadTemplate`] for a dollar sign that no such group follows.
    pub fn parse(target: &[u8], groups: usize) -> Result<Self, BadTemplate> {
        let (mut parts, mut text) = (Vec::new(), Vec::new());
        let mut bytes = target.iter().copied().peekable();
        while let Some(byte) = bytes.next() {
            match byte {
                b'\\' if bytes.next_if_eq(&b'$').is_some() => text.push(b'$'),
                b'$' => {
                    let digit = bytes.next_if(u8::is_ascii_digit).ok_or(BadTemplate::Dollar)?;
                    let group = usize::from(digit - b'0');
                    if group >= groups {
                        return Err(BadTemplate::Group(group));
                    }
                    parts.push(Part::Text(std::mem::take(&mut text)));
                    parts.push(Part::Group(group));
                }
                _ => text.push(byte),
            }
        }
        parts.push(Part::Text(text));
        Ok(Template(parts))
    }

    /// The path when it is the same for every URL.
    pub fn fixed(&self) -> Option<&[u8]> {
        match &*self.0 {
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The path for a match, and how much of it is a directory that the URL cannot choose. A group
    /// that took no part in the match is empty.
    pub fn expand(&self, url: &[u8], captures: &Captures) -> (Vec<u8>, usize) {
        let mut path = Vec::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => path.extend_from_slice(text),
                Part::Group(group) => {
                    path.extend_from_slice(captures[*group].clone().map_or(&[], |at| &url[at]));
                }
            }
        }
        let Some(Part::Text(first)) = self.0.first() else { return (path, 0) };
        let directory = first.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
        (path, directory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(target: &[u8], url: &[u8], groups: &[Range<usize>]) -> (String, usize) {
        let mut captures = Captures::default();
        for (place, group) in captures.iter_mut().zip(groups) {
            *place = Some(group.clone());
        }
        let (path, directory) = Template::parse(target, GROUPS).unwrap().expand(url, &captures);
        (String::from_utf8(path).unwrap(), directory)
    }

    #[test]
    fn groups_are_put_in() {
        let groups = [0..6, 1..2, 3..6];
        assert_eq!(expanded(b"/srv/$1/$2.wsgi", b"/a/one", &groups), ("/srv/a/one.wsgi".into(), 5));
        assert_eq!(expanded(b"/srv/x$1$1", b"/a/one", &groups), ("/srv/xaa".into(), 5));
        assert_eq!(expanded(b"/srv$0", b"/a/one", &groups), ("/srv/a/one".into(), 1));
        assert_eq!(expanded(b"/srv/a$9b", b"/a/one", &groups), ("/srv/ab".into(), 5));
        assert_eq!(expanded(b"/srv/a.wsgi", b"/a/one", &groups), ("/srv/a.wsgi".into(), 5));
    }

    #[test]
    fn a_dollar_sign_may_be_escaped() {
        assert_eq!(Template::parse(b"/a\\$1", 1).unwrap().fixed(), Some(&b"/a$1"[..]));
        assert_eq!(Template::parse(b"/a\\b", 1).unwrap().fixed(), Some(&b"/a\\b"[..]));
        assert_eq!(Template::parse(b"/$0", 1).unwrap().fixed(), None);
    }

    #[test]
    fn what_names_no_group_is_refused() {
        assert_eq!(Template::parse(b"/$name", 2), Err(BadTemplate::Dollar));
        assert_eq!(Template::parse(b"/a$", 2), Err(BadTemplate::Dollar));
        assert_eq!(Template::parse(b"/$2", 2), Err(BadTemplate::Group(2)));
    }
}
