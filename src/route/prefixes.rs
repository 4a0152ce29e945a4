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
}

impl Prefixes {
    /// Adds the path of an alias that is tried later than all before it.
    pub fn push(&mut self, path: &[u8], position: usize) {
        let path = collapse(path);
        self.longest = self.longest.max(path.len());
        self.positions.entry((*path).into()).or_insert(position);
    }

    /// The position of the first alias that takes `uri`, as [`super::alias::matched_len`] has it.
    pub fn first(&self, uri: &[u8]) -> Option<usize> {
        if self.positions.is_empty() {
            return None;
        }
        let uri = collapse(uri);
        let within = &uri[..uri.len().min(self.longest)];
        let slashes = within.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        // An alias ends before a slash, with it, or with the URL.
        let ends = slashes.flat_map(|(at, _)| [at, at + 1]);
        let beyond = uri.get(self.longest).is_none_or(|byte| *byte == b'/');
        let ends = ends.chain(beyond.then_some(within.len()));
        ends.filter_map(|end| self.positions.get(&within[..end])).min().copied()
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
