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
    /// Shapes seen once, each at a place that follows from it.
    seen: Box<[u64; REMEMBERED]>,
}

/// The environ of requests with the same names and the same callable.
struct Template {
    shape: u64,
    callable: Box<[u8]>,
    slots: Vec<Slot>,
    environ: Object,
}

/// What a template knows of one entry.
struct Slot {
    code: u8,
    name: Box<[u8]>,
    key: Object,
    /// The name of an entry that mod_wsgi adds with the same value.
    twin: Option<Object>,
    /// What the template's environ has; `None` when it is never kept.
    value: Option<Vec<u8>>,
    /// How many times in a row it was another one.
    misses: u8,
}

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
        Templates { known: Vec::new(), seen: Box::new([0; REMEMBERED]) }
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
        let mut differing = Vec::with_capacity(16);
        if let Some(template) = self.known.first_mut() {
            if template.fits(request, &mut differing) {
                return template.fill(py, &differing);
            }
        }
        let shape = shape(request);
        let found = self.known.iter().position(|template| template.shape == shape);
        if let Some(position) = found {
            self.known[..=position].rotate_right(1);
            let template = &mut self.known[0];
            return match template.fits(request, &mut differing) {
                true => template.fill(py, &differing),
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
        let mut slots: Vec<Slot> = Vec::new();
        for entry in request.environ() {
            if is_of_the_host(entry) || slots.iter().any(|slot| slot.is_for(entry)) {
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
                value: None,
                misses: 0,
            };
            if FIXED.contains(&entry.code) || slot.may_keep(entry.value) {
                slot.value = Some(entry.value.to_vec());
            } else {
                slot.set(&environ, &py.none())?;
            }
            slots.push(slot);
        }
        Ok(Some(Template { shape, callable: request.callable.into(), slots, environ }))
    }

    /// Whether the request's environ can be made from the template; what has to be set then.
    fn fits<'a>(&mut self, request: &Request<'a>, differing: &mut Vec<(usize, Entry<'a>)>) -> bool {
        differing.clear();
        let mut count = 0;
        for (position, entry) in request.environ().iter().enumerate() {
            let Some(slot) = self.slots.get_mut(position).filter(|slot| slot.is_for(entry)) else {
                return false;
            };
            if slot.value.as_deref() == Some(entry.value) {
                slot.misses = 0;
            } else {
                if FIXED.contains(&entry.code) {
                    return false;
                }
                differing.push((position, *entry));
            }
            count += 1;
        }
        count == self.slots.len() && *request.callable == *self.callable
    }

    /// A copy with what differs set. What is likely to come again is kept.
    fn fill(&mut self, py: Py, differing: &[(usize, Entry<'_>)]) -> PyResult<Object> {
        let environ = self.environ.copy_dict()?;
        for (position, entry) in differing {
            let slot = &mut self.slots[*position];
            let value = decode(py, entry)?;
            slot.set(&environ, &value)?;
            slot.misses = slot.misses.wrapping_add(1);
            if slot.misses < PATIENCE && slot.may_keep(entry.value) {
                slot.set(&self.environ, &value)?;
                let kept = slot.value.get_or_insert_default();
                kept.clear();
                kept.extend_from_slice(entry.value);
            }
        }
        Ok(environ)
    }
}

impl Slot {
    fn is_for(&self, entry: &Entry<'_>) -> bool {
        self.code == entry.code && (entry.code != 0 || *self.name == *entry.name)
    }

    fn may_keep(&self, value: &[u8]) -> bool {
        !SECRET.contains(&self.code) && value.len() <= LONGEST_VALUE
    }

    fn set(&self, environ: &Object, value: &Object) -> PyResult<()> {
        environ.set_item(&self.key, value)?;
        self.twin.iter().try_for_each(|twin| environ.set_item(twin, value))
    }
}
