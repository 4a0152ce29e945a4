//! Templates of environ dictionaries.
//!
//! Requests resemble each other: the same names in the same order, and most values are what they were
//! the last time. A template is the environ of such requests. Copying it is one allocation and one
//! block of memory; only what differs is decoded and set.

use std::hash::Hasher;

use rustc_hash::FxHasher;

use crate::python::object::{Object, Py, PyResult};
use crate::wire::{key, Entry, Request};

/// Templates kept for one interpreter.
const MOST: usize = 32;
/// Shapes of which it is remembered that they have been seen once.
const REMEMBERED: usize = 64;
/// Longer values are not kept.
const LONGEST_VALUE: usize = 512;
/// A value that has been another so many times in a row is not kept for a while.
const PATIENCE: u8 = 16;

/// Entries that decide about others, or are no entries of the dictionary.
const FIXED: [u8; 3] = [key::HTTPS, key::REQUEST_HANDLER, key::HANDLER_SCRIPT];
/// Entries whose values are nobody's business once the request is over.
const SECRET: [u8; 2] = [key::COOKIE, key::AUTHORIZATION];
/// How the names begin that the host sets itself, whatever else there is of such a name.
const OF_THE_HOST: [&[u8]; 3] = [b"wsgi.", b"mod_wsgi.", b"apache."];
/// File names.
const PATHS: [u8; 2] = [key::SCRIPT_FILENAME, key::DOCUMENT_ROOT];

/// The templates of an interpreter, the last used first.
pub struct Templates {
    known: Vec<Template>,
    /// Of the request at hand; kept for its memory.
    differing: Vec<Difference>,
    /// Shapes seen once, each at a place that follows from it.
    seen: Box<[u64; REMEMBERED]>,
}

/// The environ of requests with the same names and the same callable.
struct Template {
    shape: u64,
    callable: Box<[u8]>,
    slots: Vec<Slot>,
    environ: Object,
    /// The entries that the environ has been made of, as they travel: most of a request's are the same,
    /// so that whole runs of them are compared at a time.
    entries: Vec<u8>,
    /// Requests so far.
    served: u64,
}

/// What a template knows of one entry.
struct Slot {
    code: u8,
    name: Box<[u8]>,
    key: Object,
    /// The name of an entry that mod_wsgi adds with the same value.
    twin: Option<Object>,
    /// Where it ends among the entries.
    end: usize,
    /// How many times in a row it was another one, and which request was the last of these.
    misses: u8,
    missed: u64,
}

/// What stands for a value that is not kept: a length that no entry has, so that none is the same.
const NOTHING: [u8; 4] = [0xff; 4];

/// An entry that differs from the template's: its slot, and its place among the request's entries.
type Difference = (usize, usize);

/// The object of an entry's value.
pub fn decode(py: Py, entry: &Entry<'_>) -> PyResult<Object> {
    if PATHS.contains(&entry.code) {
        py.path(entry.value)
    } else {
        py.latin1(entry.value)
    }
}

impl Templates {
    pub fn new() -> Self {
        Templates { known: Vec::new(), differing: Vec::new(), seen: Box::new([0; REMEMBERED]) }
    }

    /// The environ of a request, from a template or as `whole` makes it. `key` gives the string of a
    /// name.
    pub fn environ(
        &mut self,
        py: Py,
        request: &Request<'_>,
        key: impl Fn(&[u8]) -> PyResult<Object>,
        whole: impl FnOnce() -> PyResult<Object>,
    ) -> PyResult<Object> {
        let differing = &mut self.differing;
        if let Some(template) = self.known.first_mut() {
            if template.fits(request, differing) {
                return template.fill(py, request, differing);
            }
        }
        let shape = shape(request);
        let found = self.known.iter().position(|template| template.shape == shape);
        if let Some(position) = found {
            self.known[..=position].rotate_right(1);
            let template = &mut self.known[0];
            return match template.fits(request, differing) {
                true => template.fill(py, request, differing),
                false => whole(),
            };
        }
        let environ = whole()?;
        let seen = &mut self.seen[shape as usize % REMEMBERED];
        if std::mem::replace(seen, shape) == shape {
            if let Some(template) = Template::new(py, shape, request, key, &environ)? {
                self.known.truncate(MOST - 1);
                self.known.insert(0, template);
            }
        }
        Ok(environ)
    }
}

/// Whether the entry has a name that the host may set. What nginx itself sets of these is well known.
fn is_of_the_host(entry: &Entry<'_>) -> bool {
    entry.code == 0 && OF_THE_HOST.iter().any(|start| entry.name.starts_with(start))
}

/// What requests have to have in common.
fn shape(request: &Request<'_>) -> u64 {
    let mut hasher = FxHasher::default();
    for entry in request.environ() {
        hasher.write_u8(entry.code);
        if entry.code == 0 {
            hasher.write(entry.name);
        } else if FIXED.contains(&entry.code) {
            hasher.write(entry.value);
        }
    }
    hasher.write(request.callable);
    hasher.finish()
}

impl Template {
    /// A template like the `environ` of a request; `None` when a name is there twice, or a parameter may
    /// have one of the host's.
    fn new(
        py: Py,
        shape: u64,
        request: &Request<'_>,
        key: impl Fn(&[u8]) -> PyResult<Object>,
        environ: &Object,
    ) -> PyResult<Option<Self>> {
        let environ = environ.copy_dict()?;
        let overridden = request.known(key::FRONT_SCRIPT_NAME).is_some();
        let (mut slots, mut entries): (Vec<Slot>, Vec<u8>) = Default::default();
        let mut rest = request.environ();
        let mut bytes = rest.bytes();
        while let Some(entry) = rest.next() {
            let whole = bytes;
            bytes = rest.bytes();
            if is_of_the_host(&entry) || slots.iter().any(|slot| slot.is_for(&entry)) {
                return Ok(None);
            }
            let twin = match entry.code {
                key::PATH_INFO => Some("mod_wsgi.path_info"),
                key::SCRIPT_NAME if !overridden => Some("mod_wsgi.script_name"),
                _ => None,
            };
            let mut slot = Slot {
                code: entry.code,
                name: entry.name.into(),
                key: key(entry.name)?,
                twin: twin.map(|name| py.interned(name)).transpose()?,
                end: 0,
                misses: 0,
                missed: 0,
            };
            entries.extend_from_slice(&whole[..whole.len() - bytes.len()]);
            if !FIXED.contains(&entry.code) && !slot.may_keep(entry.value) {
                slot.set(&environ, &py.none())?;
                entries.truncate(entries.len() - NOTHING.len() - entry.value.len());
                entries.extend_from_slice(&NOTHING);
            }
            slot.end = entries.len();
            slots.push(slot);
        }
        let callable = request.callable.into();
        Ok(Some(Template { shape, callable, slots, environ, entries, served: 0 }))
    }

    /// Whether the request's environ can be made from the template; what has to be set then.
    fn fits(&self, request: &Request<'_>, differing: &mut Vec<Difference>) -> bool {
        differing.clear();
        let all = request.environ();
        let (mut known, mut at, mut index) = (0, 0, 0);
        loop {
            let (ours, theirs) = (&self.entries[known..], &all.bytes()[at..]);
            let same = common_start(ours, theirs);
            if same == ours.len() {
                return same == theirs.len() && *request.callable == *self.callable;
            }
            index += self.slots[index..].partition_point(|slot| slot.end <= known + same);
            let slot = &self.slots[index];
            at += self.start(index) - known;
            let mut rest = all.from(at);
            match rest.next() {
                Some(entry) if slot.is_for(&entry) && !FIXED.contains(&slot.code) => {}
                _ => return false,
            }
            differing.push((index, at));
            at = all.bytes().len() - rest.bytes().len();
            (known, index) = (slot.end, index + 1);
        }
    }

    /// Where a slot's entry begins among the entries.
    fn start(&self, index: usize) -> usize {
        index.checked_sub(1).map_or(0, |before| self.slots[before].end)
    }

    /// A copy with what differs set. What is likely to come again is kept.
    fn fill(
        &mut self,
        py: Py,
        request: &Request<'_>,
        differing: &[Difference],
    ) -> PyResult<Object> {
        self.served += 1;
        let environ = self.environ.copy_dict()?;
        for (index, at) in differing {
            let mut rest = request.environ().from(*at);
            let whole = rest.bytes();
            let Some(entry) = rest.next() else { continue };
            let slot = &mut self.slots[*index];
            let value = decode(py, &entry)?;
            slot.set(&environ, &value)?;
            if slot.is_missed(self.served) < PATIENCE && slot.may_keep(entry.value) {
                slot.set(&self.environ, &value)?;
                self.keep(*index, &whole[..whole.len() - rest.bytes().len()]);
            }
        }
        Ok(environ)
    }

    /// Puts another entry into a slot.
    fn keep(&mut self, index: usize, entry: &[u8]) {
        let (start, end) = (self.start(index), self.slots[index].end);
        if entry.len() == end - start {
            return self.entries[start..end].copy_from_slice(entry);
        }
        self.entries.splice(start..end, entry.iter().copied());
        for slot in &mut self.slots[index..] {
            slot.end = slot.end - end + start + entry.len();
        }
    }
}

/// How many bytes two pieces have in common from their start.
fn common_start(one: &[u8], other: &[u8]) -> usize {
    let most = one.len().min(other.len());
    let (one, other) = (&one[..most], &other[..most]);
    let long = equal_blocks::<32>(one, other);
    let short = long + equal_blocks::<8>(&one[long..], &other[long..]);
    let last = one[short..].iter().zip(&other[short..]).take_while(|(one, other)| one == other);
    short + last.count()
}

/// How many bytes of whole blocks at the start are equal.
fn equal_blocks<const N: usize>(one: &[u8], other: &[u8]) -> usize {
    let blocks = one.chunks_exact(N).zip(other.chunks_exact(N));
    // With a constant length no call.
    let same = |(one, other): &(&[u8], &[u8])| one.first_chunk::<N>() == other.first_chunk::<N>();
    blocks.take_while(same).count() * N
}

impl Slot {
    fn is_for(&self, entry: &Entry<'_>) -> bool {
        self.code == entry.code && (entry.code != 0 || *self.name == *entry.name)
    }

    /// How many times in a row it has been another one, this request's included.
    fn is_missed(&mut self, request: u64) -> u8 {
        let before = if self.missed + 1 == request { self.misses } else { 0 };
        (self.misses, self.missed) = (before.wrapping_add(1), request);
        self.misses
    }

    fn may_keep(&self, value: &[u8]) -> bool {
        !SECRET.contains(&self.code) && value.len() <= LONGEST_VALUE
    }

    fn set(&self, environ: &Object, value: &Object) -> PyResult<()> {
        environ.set_item(&self.key, value)?;
        self.twin.iter().try_for_each(|twin| environ.set_item(twin, value))
    }
}

#[cfg(test)]
mod tests {
    use super::common_start;

    #[test]
    fn the_common_start_is_found_wherever_it_ends() {
        let one: Vec<u8> = (0..200).collect();
        for len in [0, 1, 7, 8, 31, 32, 33, 100, 200] {
            assert_eq!(common_start(&one, &one[..len]), len);
            let mut other = one.clone();
            if let Some(byte) = other.get_mut(len) {
                *byte ^= 1;
            }
            assert_eq!(common_start(&other, &one), len);
        }
    }
}
