//! Which of many aliases takes a URL, without looking at each.

use rustc_hash::FxHashMap;

use super::alias::collapse;

/// The URL-paths of aliases in the order in which they are tried. Finding one costs as many look-ups
/// as the URL has slashes, however many paths there are.
#[derive(Clone, Debug, Default)]
pub struct Prefixes {
    /// The first position of each path, by the path with runs of slashes as one.
    positions: FxHashMap<Box<[u8]>, usize>,
    longest: usize,
    /// A bit for each length that there is, the last one for all that are longer.
    lengths: u64,
}

/// The bit of a path's length.
fn bit(len: usize) -> u64 {
    1 << len.min(u64::BITS as usize - 1)
}

impl Prefixes {
    /// Adds the path of an alias that is tried later than all before it.
    pub fn push(&mut self, path: &[u8], position: usize) {
        let path = collapse(path);
        self.longest = self.longest.max(path.len());
        self.lengths |= bit(path.len());
        self.positions.entry((*path).into()).or_insert(position);
    }

    /// The position of the first alias that takes `uri`, as [`super::alias::matched_len`] has it.
    pub fn first(&self, uri: &[u8]) -> Option<usize> {
        if self.positions.is_empty() {
            return None;
        }
        let within = uri.len().min(self.longest);
        let mut first: Option<usize> = None;
        let mut look = |end: usize| {
            if self.lengths & bit(end) != 0 {
                let found = self.positions.get(&uri[..end]).copied();
                first = first.into_iter().chain(found).min();
            }
        };
        // An alias ends before a slash, with it, or with the URL.
        for at in (0..within).filter(|at| uri[*at] == b'/') {
            if at > 0 && uri[at - 1] == b'/' {
                return self.first(&collapse(uri));
            }
            look(at);
            look(at + 1);
        }
        if uri.get(within).is_none_or(|byte| *byte == b'/') {
            look(within);
        }
        first
    }
}

#[cfg(test)]
mod tests {
    use super::super::alias::matched_len;
    use super::*;

    fn prefixes(paths: &[&[u8]]) -> Prefixes {
        let mut prefixes = Prefixes::default();
        paths.iter().enumerate().for_each(|(position, path)| prefixes.push(path, position));
        prefixes
    }

    #[test]
    fn the_first_of_those_that_take_it_is_found() {
        let prefixes = prefixes(&[b"/a/b", b"/a", b"/a/b/c", b"//a//b", b"/"]);
        assert_eq!(prefixes.first(b"/a/b/c/d"), Some(0));
        assert_eq!(prefixes.first(b"//a///b"), Some(0));
        assert_eq!(prefixes.first(b"/a/x"), Some(1));
        assert_eq!(prefixes.first(b"/abc"), Some(4));
        assert_eq!(prefixes.first(b"*"), None);
        assert_eq!(Prefixes::default().first(b"/"), None);
    }

    /// All aliases and URLs of up to five bytes that differ in slashes and two names.
    #[test]
    fn it_is_what_trying_one_after_the_other_finds() {
        let words: Vec<Vec<u8>> = (0..=5)
            .flat_map(|len| (0..3usize.pow(len)).map(move |number| (len, number)))
            .map(|(len, number)| {
                let digits = (0..len).map(|place| b"/ab"[number / 3usize.pow(place) % 3]);
                std::iter::once(b'/').chain(digits).collect()
            })
            .collect();
        // Different orders and selections, each the same in every run.
        for step in [1, 2, 5, 7, 11, 29, 97] {
            let chosen: Vec<&[u8]> =
                (0..words.len() / step).map(|n| &*words[n * 151 % words.len()]).collect();
            let prefixes = prefixes(&chosen);
            for uri in &words {
                let expected = chosen.iter().position(|path| matched_len(path, uri).is_some());
                assert_eq!(prefixes.first(uri), expected, "{}", uri.escape_ascii());
            }
        }
    }
}
