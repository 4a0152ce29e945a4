//! The REQUEST frame: where the request goes, and its environ.

use std::ops::Range;

use super::frame::{put_bytes, put_u16, BadFrame, Fields, Header, Kind, HEADER_LEN};

/// Request flag: no BODY frame follows.
pub const NO_BODY: u8 = 1;
/// Request flag: `wsgi_script_reloading` is on.
pub const RELOADING: u8 = 2;
/// Request flag: the client asked with HEAD, so no DATA is to be sent.
pub const HEAD_ONLY: u8 = 4;
/// Request flag: its body goes to one process only, so it cannot be sent again.
pub const ONCE: u8 = 8;
/// Request flag: it has been sent before, and rejected.
pub const AGAIN: u8 = 16;

/// Request flag: it does not count as activity of its process (`wsgi_ignore_activity`).
pub const QUIET: u8 = 32;

/// Request flag: the callable is a hook that decides about access, one of [`super::hook`].
pub const HOOK: u8 = 64;

/// Request flag: nginx needs the bytes of the response, a FILE frame is no use to it.
pub const NO_FILE: u8 = 128;

const VERSION: u8 = 1;

/// Environ keys that travel as one byte. The byte is the position plus one; zero says that the
/// name follows in full.
pub mod key {
    /// Names in wire order; append only.
    pub const WELL_KNOWN: [&str; 41] = [
        "REQUEST_METHOD",
        "REQUEST_URI",
        "SCRIPT_NAME",
        "PATH_INFO",
        "QUERY_STRING",
        "CONTENT_TYPE",
        "CONTENT_LENGTH",
        "SERVER_PROTOCOL",
        "SERVER_NAME",
        "SERVER_PORT",
        "SERVER_ADDR",
        "SERVER_SOFTWARE",
        "SERVER_ADMIN",
        "REMOTE_ADDR",
        "REMOTE_PORT",
        "REMOTE_USER",
        "AUTH_TYPE",
        "DOCUMENT_ROOT",
        "CONTEXT_PREFIX",
        "CONTEXT_DOCUMENT_ROOT",
        "REQUEST_SCHEME",
        "SCRIPT_FILENAME",
        "HTTPS",
        "HTTP_HOST",
        "HTTP_USER_AGENT",
        "HTTP_ACCEPT",
        "HTTP_ACCEPT_LANGUAGE",
        "HTTP_ACCEPT_ENCODING",
        "HTTP_CONNECTION",
        "HTTP_COOKIE",
        "HTTP_REFERER",
        "HTTP_AUTHORIZATION",
        "mod_wsgi.request_id",
        "mod_wsgi.connection_id",
        "mod_wsgi.listener_host",
        "mod_wsgi.listener_port",
        "mod_wsgi.server_pid",
        "mod_wsgi.mount_point",
        "mod_wsgi.script_name",
        "mod_wsgi.request_handler",
        "mod_wsgi.handler_script",
    ];

    pub const REQUEST_METHOD: u8 = of("REQUEST_METHOD");
    pub const REQUEST_URI: u8 = of("REQUEST_URI");
    pub const SERVER_NAME: u8 = of("SERVER_NAME");
    pub const REMOTE_ADDR: u8 = of("REMOTE_ADDR");
    pub const SCRIPT_NAME: u8 = of("SCRIPT_NAME");
    pub const PATH_INFO: u8 = of("PATH_INFO");
    pub const SCRIPT_FILENAME: u8 = of("SCRIPT_FILENAME");
    pub const DOCUMENT_ROOT: u8 = of("DOCUMENT_ROOT");
    pub const HTTPS: u8 = of("HTTPS");
    pub const COOKIE: u8 = of("HTTP_COOKIE");
    pub const AUTHORIZATION: u8 = of("HTTP_AUTHORIZATION");
    pub const REQUEST_ID: u8 = of("mod_wsgi.request_id");
    pub const FRONT_SCRIPT_NAME: u8 = of("mod_wsgi.script_name");
    pub const REQUEST_HANDLER: u8 = of("mod_wsgi.request_handler");
    pub const HANDLER_SCRIPT: u8 = of("mod_wsgi.handler_script");

    /// The wire byte of one of [`WELL_KNOWN`]; what uses it for any other does not compile.
    const fn of(name: &str) -> u8 {
        let mut position = 0;
        while !is_same(WELL_KNOWN[position].as_bytes(), name.as_bytes()) {
            position += 1;
        }
        position as u8 + 1
    }

    const fn is_same(one: &[u8], other: &[u8]) -> bool {
        if one.len() != other.len() {
            return false;
        }
        let mut at = 0;
        while at < one.len() {
            if one[at] != other[at] {
                return false;
            }
            at += 1;
        }
        true
    }

    /// Places in the table of codes.
    const PLACES: usize = 128;

    /// Codes by the places of their names, 0 where there is none.
    const CODES: [u8; PLACES] = {
        let mut codes = [0; PLACES];
        let mut position = 0;
        while position < WELL_KNOWN.len() {
            let place = place(WELL_KNOWN[position].as_bytes());
            assert!(codes[place] == 0, "two names have one place: choose other factors");
            position += 1;
            codes[place] = position as u8;
        }
        codes
    };

    /// The place of a name, which no two well-known ones share.
    const fn place(name: &[u8]) -> usize {
        let len = name.len();
        let last_but_one = if len < 2 { 0 } else { name[len - 2] as usize };
        let middle = if len == 0 { 0 } else { name[len / 2] as usize };
        (len + 5 * middle + 114 * last_but_one) % PLACES
    }

    /// The wire byte of a name, 0 when it has none.
    #[inline]
    pub fn code(name: &[u8]) -> u8 {
        let code = CODES[place(name)];
        match self::name(code) {
            Some(known) if known.as_bytes() == name => code,
            _ => 0,
        }
    }

    /// The name of a wire byte.
    #[inline]
    pub fn name(code: u8) -> Option<&'static str> {
        WELL_KNOWN.get((code as usize).checked_sub(1)?).copied()
    }
}

/// Writes a REQUEST frame: the fixed part first, then environ entries, then [`Self::finish`].
pub struct RequestEncoder {
    out: Vec<u8>,
    /// Where the entries begin; their number stands before.
    entries_at: usize,
    count: u16,
}

/// The name of an environ entry as it travels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key(Box<[u8]>);

impl Key {
    /// `None` for a name that is longer than 65,535 bytes.
    pub fn of(name: &[u8]) -> Option<Self> {
        let len = u16::try_from(name.len()).ok()?;
        Some(Key(match key::code(name) {
            0 => [&full_name(len), name].concat().into(),
            code => [code].into(),
        }))
    }
}

/// What stands before a name that has no wire byte.
fn full_name(len: u16) -> [u8; 3] {
    let [low, high] = len.to_le_bytes();
    [0, low, high]
}

/// A place between two entries of a frame in the making.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    len: usize,
    count: u16,
}

/// The target and times of a request, as they travel and as the host sees them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// [`NO_BODY`], [`RELOADING`], [`HEAD_ONLY`], [`ONCE`], [`AGAIN`], [`QUIET`], [`HOOK`],
    /// [`NO_FILE`].
    pub flags: u8,
    /// Unique within the generation; names the request in reports.
    pub id: u64,
    /// When nginx had the request, microseconds since the epoch.
    pub start_us: u64,
    /// When nginx asked for a slot, microseconds since the epoch.
    pub queue_us: u64,
    /// Effective daemon process group, empty for embedded.
    pub process_group: &'a [u8],
    /// Effective application group, empty for the main interpreter.
    pub application_group: &'a [u8],
    /// Path of the WSGI script.
    pub script: &'a [u8],
    /// Name of the callable in the script.
    pub callable: &'a [u8],
    /// When the script was modified, microseconds since the epoch, as nginx has seen it for this request.
    pub script_modified: Option<i64>,
    environ: Entries<'a>,
    /// Where the first entries of well-known names begin, by position; [`ABSENT`] where there is none.
    known: [u32; key::WELL_KNOWN.len()],
}

/// The place of an entry that is not there; the limit of a frame is below it.
const ABSENT: u32 = u32::MAX;

/// Environ entries as they travel, which have been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entries<'a>(Fields<'a>);

/// An environ entry as it travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The wire byte of the name, 0 when it has none.
    pub code: u8,
    pub name: &'a [u8],
    /// Undecoded.
    pub value: &'a [u8],
}

/// The fixed part of a request, for the encoder.
#[derive(Clone, Copy, Debug, Default)]
pub struct Target<'a> {
    pub flags: u8,
    pub id: u64,
    pub start_us: u64,
    pub queue_us: u64,
    pub script_modified: Option<i64>,
    pub process_group: &'a [u8],
    pub application_group: &'a [u8],
    pub script: &'a [u8],
    pub callable: &'a [u8],
}

impl RequestEncoder {
    /// Starts a frame for `target`.
    pub fn new(target: &Target<'_>) -> Self {
        let mut out = Vec::with_capacity(1024);
        out.extend_from_slice(&[0; HEADER_LEN]);
        out.push(VERSION);
        out.push(target.flags);
        let modified = target.script_modified.unwrap_or_default() as u64;
        for value in [target.id, target.start_us, target.queue_us, modified] {
            out.extend_from_slice(&value.to_le_bytes());
        }
        for value in
            [target.process_group, target.application_group, target.script, target.callable]
        {
            put_bytes(&mut out, value);
        }
        put_u16(&mut out, 0);
        let entries_at = out.len();
        RequestEncoder { out, entries_at, count: 0 }
    }

    /// Adds an environ entry. A name longer than 65,535 bytes or an entry past the 65,535th is
    /// left out; nginx's own header limits are far below both.
    #[inline]
    pub fn entry(&mut self, name: &[u8], value: &[u8]) {
        // Inlined with a constant name, the code is constant, too.
        match key::code(name) {
            0 => self.full(name, value),
            code => self.well_known(code, value),
        }
    }

    fn full(&mut self, name: &[u8], value: &[u8]) {
        let Ok(len) = u16::try_from(name.len()) else { return };
        self.keyed_by(&[&full_name(len), name], |out| out.extend_from_slice(value));
    }

    fn well_known(&mut self, code: u8, value: &[u8]) {
        let Some(count) = self.count.checked_add(1) else { return };
        self.count = count;
        let len = (value.len() as u32).to_le_bytes();
        self.out.reserve(1 + len.len() + value.len());
        self.out.extend_from_slice(&[code, len[0], len[1], len[2], len[3]]);
        self.out.extend_from_slice(value);
    }

    /// Adds an environ entry whose value is appended by `value`, under the same limit.
    pub fn keyed(&mut self, key: &Key, value: impl FnOnce(&mut Vec<u8>)) {
        self.keyed_by(&[&key.0], value);
    }

    fn keyed_by(&mut self, key: &[&[u8]], value: impl FnOnce(&mut Vec<u8>)) {
        let Some(count) = self.count.checked_add(1) else { return };
        self.count = count;
        key.iter().for_each(|part| self.out.extend_from_slice(part));
        let len_at = self.out.len();
        self.out.extend_from_slice(&[0; 4]);
        value(&mut self.out);
        let len = (self.out.len() - len_at - 4) as u32;
        self.out[len_at..len_at + 4].copy_from_slice(&len.to_le_bytes());
    }

    /// The place that the next entry goes to.
    pub fn mark(&self) -> Mark {
        Mark { len: self.out.len(), count: self.count }
    }

    /// Forgets the entries from a place on.
    pub fn go_back(&mut self, to: Mark) {
        self.out.truncate(to.len);
        self.count = to.count;
    }

    /// The entries so far: where each is, its name and its value.
    fn entries(&self) -> impl Iterator<Item = (Range<usize>, &[u8], &[u8])> {
        let mut rest = Fields(&self.out[self.entries_at..]);
        std::iter::from_fn(move || {
            let start = self.out.len() - rest.0.len();
            let Entry { name, value, .. } = entry(&mut rest).ok()?;
            Some((start..self.out.len() - rest.0.len(), name, value))
        })
    }

    /// The first value of a name, without regard to case.
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        let found = self.entries().find(|(_, known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(.., value)| value)
    }

    /// Takes the entries of a name out again, without regard to case.
    pub fn remove(&mut self, name: &[u8]) {
        let place = |encoder: &Self| {
            let mut entries = encoder.entries();
            entries.find(|(_, known, _)| known.eq_ignore_ascii_case(name)).map(|(place, ..)| place)
        };
        while let Some(place) = place(self) {
            self.out.drain(place);
            self.count -= 1;
        }
    }

    /// The finished frame.
    ///
    /// # Errors
    ///
    /// [`BadFrame::Length`] when the environ is over the limit of a REQUEST frame.
    pub fn finish(mut self) -> Result<Vec<u8>, BadFrame> {
        self.out[self.entries_at - 2..self.entries_at].copy_from_slice(&self.count.to_le_bytes());
        let len = self.out.len() - HEADER_LEN;
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        if len > super::limit(Kind::Request) {
            return Err(BadFrame::Length(Kind::Request, len));
        }
        self.out[..HEADER_LEN].copy_from_slice(&Header::new(Kind::Request, 0, len).encode());
        Ok(self.out)
    }
}

/// Changes the flags of a finished REQUEST frame.
pub fn set_flags(frame: &mut [u8], change: impl FnOnce(u8) -> u8) {
    // Behind the frame's header and the version, where `RequestEncoder::new` puts them.
    if let Some(flags) = frame.get_mut(HEADER_LEN + 1) {
        *flags = change(*flags);
    }
}

/// Gives an encoded REQUEST frame another id.
pub fn set_id(frame: &mut [u8], id: u64) {
    // Behind the flags.
    if let Some(place) = frame.get_mut(HEADER_LEN + 2..HEADER_LEN + 10) {
        place.copy_from_slice(&id.to_le_bytes());
    }
}

impl<'a> Request<'a> {
    /// Reads the payload of a REQUEST frame and checks every entry of it.
    ///
    /// # Errors
    ///
    /// [`BadFrame`] naming the field that is cut short or invalid.
    pub fn decode(payload: &'a [u8]) -> Result<Self, BadFrame> {
        let mut fields = Fields(payload);
        if fields.u8("version")? != VERSION {
            return Err(BadFrame::Invalid("version"));
        }
        let mut request = Request {
            flags: fields.u8("flags")?,
            id: fields.u64("id")?,
            start_us: fields.u64("start")?,
            queue_us: fields.u64("queue")?,
            script_modified: Some(fields.u64("modified")? as i64).filter(|time| *time != 0),
            process_group: fields.bytes("process group")?,
            application_group: fields.bytes("application group")?,
            script: fields.bytes("script")?,
            callable: fields.bytes("callable")?,
            environ: Entries(Fields(&[])),
            known: [ABSENT; key::WELL_KNOWN.len()],
        };
        let count = fields.u16("entries")?;
        request.environ = Entries(fields.clone());
        let all = fields.0.len();
        for _ in 0..count {
            let at = all - fields.0.len();
            let Some((code, rest)) = first_code(fields.0) else {
                // Says what is wrong with it.
                entry(&mut fields)?;
                continue;
            };
            fields.0 = rest;
            if let Some(known) = request.known.get_mut(usize::from(code).wrapping_sub(1)) {
                *known = (*known).min(at as u32);
            }
        }
        if !fields.0.is_empty() {
            return Err(BadFrame::Invalid("length"));
        }
        Ok(request)
    }

    /// The environ entries in wire order.
    pub fn environ(&self) -> Entries<'a> {
        self.environ.clone()
    }

    /// The first value of the environ entry with a well-known name, by its wire byte.
    pub fn known(&self, code: u8) -> Option<&'a [u8]> {
        let at = *self.known.get(usize::from(code).checked_sub(1)?)?;
        Some(self.environ.from(at as usize).next()?.value)
    }

    /// The first value of any environ entry.
    pub fn get(&self, name: &[u8]) -> Option<&'a [u8]> {
        match key::code(name) {
            0 => self.environ().find(|entry| entry.name == name).map(|entry| entry.value),
            code => self.known(code),
        }
    }
}

impl<'a> Entries<'a> {
    /// The bytes of all of them.
    pub fn bytes(&self) -> &'a [u8] {
        self.0 .0
    }

    /// Those from a place in the bytes on, where one begins.
    pub fn from(&self, at: usize) -> Self {
        Entries(Fields(self.bytes().get(at..).unwrap_or_default()))
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        entry(&mut self.0).ok()
    }
}

/// The wire byte of the first entry, and what is behind the entry; `None` when it is cut short or invalid.
#[inline(always)]
fn first_code(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let (code, behind) = bytes.split_first()?;
    let behind = match code {
        0 => {
            let (len, behind) = behind.split_first_chunk()?;
            behind.get(usize::from(u16::from_le_bytes(*len))..)?
        }
        code if usize::from(*code) <= key::WELL_KNOWN.len() => behind,
        _ => return None,
    };
    let (len, behind) = behind.split_first_chunk()?;
    Some((*code, behind.get(u32::from_le_bytes(*len) as usize..)?))
}

#[inline]
fn entry<'a>(fields: &mut Fields<'a>) -> Result<Entry<'a>, BadFrame> {
    let code = fields.u8("key code")?;
    let name = match code {
        0 => {
            let len = fields.u16("name length")? as usize;
            fields.take(len, "name")?
        }
        code => key::name(code).ok_or(BadFrame::Invalid("key code"))?.as_bytes(),
    };
    Ok(Entry { code, name, value: fields.bytes("value")? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(
            group in proptest::collection::vec(any::<u8>(), 0..40),
            entries in proptest::collection::vec(
                (prop_oneof![
                    proptest::collection::vec(any::<u8>(), 0..60),
                    proptest::sample::select(&key::WELL_KNOWN[..]).prop_map(|name| name.as_bytes().to_vec()),
                 ],
                 proptest::collection::vec(any::<u8>(), 0..300)), 0..50),
        ) {
            let target = Target { id: 7, application_group: &group, script: b"/a", callable: b"application", ..Target::default() };
            let mut encoder = RequestEncoder::new(&target);
            for (name, value) in &entries {
                encoder.entry(name, value);
            }
            let frame = encoder.finish().unwrap();
            let request = Request::decode(&frame[HEADER_LEN..]).unwrap();
            prop_assert_eq!(request.application_group, &group[..]);
            let seen: Vec<_> = request.environ().map(|entry| (entry.name.to_vec(), entry.value.to_vec())).collect();
            prop_assert_eq!(&seen, &entries);
            for name in key::WELL_KNOWN.map(str::as_bytes) {
                let first = entries.iter().find(|(known, _)| known == name).map(|(_, value)| &value[..]);
                prop_assert_eq!(request.get(name), first);
            }
        }

        #[test]
        fn appended_entries_are_entries(
            name in proptest::collection::vec(any::<u8>(), 0..60),
            value in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..9), 0..5),
        ) {
            let (mut whole, mut pieces) =
                (RequestEncoder::new(&Target::default()), RequestEncoder::new(&Target::default()));
            for name in [&name[..], b"HTTP_HOST"] {
                whole.entry(name, &value.concat());
                let key = Key::of(name).unwrap();
                pieces.keyed(&key, |out| value.iter().for_each(|piece| out.extend_from_slice(piece)));
            }
            prop_assert_eq!(pieces.finish().unwrap(), whole.finish().unwrap());
        }

        #[test]
        fn no_payload_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            if let Ok(request) = Request::decode(&bytes) {
                prop_assert!(request.environ().count() <= 65_535);
            }
        }

        #[test]
        fn every_cut_is_noticed(cut in 0usize..120) {
            let mut encoder = RequestEncoder::new(&Target { script: b"/srv/a.wsgi", callable: b"application", ..Target::default() });
            encoder.entry(b"PATH_INFO", b"/x");
            encoder.entry(b"X_OTHER", b"y");
            let frame = encoder.finish().unwrap();
            let payload = &frame[HEADER_LEN..];
            prop_assume!(cut < payload.len());
            prop_assert!(Request::decode(&payload[..cut]).is_err());
        }
    }

    #[test]
    fn flags_and_id_can_be_changed_later() {
        let target = Target { flags: RELOADING | NO_BODY, id: 1, ..Target::default() };
        let mut frame = RequestEncoder::new(&target).finish().unwrap();
        set_flags(&mut frame, |flags| flags & !RELOADING | AGAIN);
        set_id(&mut frame, u64::MAX - 1);
        let request = Request::decode(&frame[HEADER_LEN..]).unwrap();
        assert_eq!((request.flags, request.id), (NO_BODY | AGAIN, u64::MAX - 1));
        set_flags(&mut [], |flags| flags | AGAIN);
        set_id(&mut [], 1);
    }

    #[test]
    fn entries_behind_a_mark_can_be_forgotten() {
        let mut encoder = RequestEncoder::new(&Target::default());
        encoder.entry(b"A", b"1");
        let mark = encoder.mark();
        encoder.entry(b"B", b"2");
        encoder.go_back(mark);
        encoder.entry(b"C", b"3");
        let frame = encoder.finish().unwrap();
        let request = Request::decode(&frame[HEADER_LEN..]).unwrap();
        assert_eq!((request.get(b"A"), request.get(b"B")), (Some(&b"1"[..]), None));
        assert_eq!(request.environ().count(), 2);
    }

    #[test]
    fn entries_can_be_looked_up_and_taken_out() {
        let mut encoder = RequestEncoder::new(&Target::default());
        for (name, value) in [("HTTPS", "1"), ("X_a", "2"), ("HTTP_HOST", "3"), ("x_A", "4")] {
            encoder.entry(name.as_bytes(), value.as_bytes());
        }
        assert_eq!(encoder.get(b"X_A"), Some(&b"2"[..]));
        assert_eq!(encoder.get(b"http_host"), Some(&b"3"[..]));
        assert_eq!(encoder.get(b"HTTP"), None);
        encoder.remove(b"X_A");
        encoder.remove(b"HTTPs");
        encoder.remove(b"HTTP");
        let frame = encoder.finish().unwrap();
        let request = Request::decode(&frame[HEADER_LEN..]).unwrap();
        let entries: Vec<_> = request.environ().map(|e| (e.name, e.value)).collect();
        assert_eq!(entries, [(&b"HTTP_HOST"[..], &b"3"[..])]);
    }

    #[test]
    fn a_name_that_is_too_long_is_left_out() {
        let (name, mut encoder) = (vec![b'A'; 65_536], RequestEncoder::new(&Target::default()));
        encoder.entry(&name, b"1");
        assert_eq!(Key::of(&name), None);
        encoder.entry(&name[1..], b"1");
        let frame = encoder.finish().unwrap();
        assert_eq!(Request::decode(&frame[HEADER_LEN..]).unwrap().environ().count(), 1);
    }

    #[test]
    fn well_known_keys_take_one_byte() {
        for name in key::WELL_KNOWN {
            assert_eq!(key::name(key::code(name.as_bytes())), Some(name));
        }
        assert_eq!(key::code(b""), 0);
        assert_eq!(key::name(key::code(b"PATH_INFO")), Some("PATH_INFO"));
        assert_eq!(key::code(b"HTTP_X_UNHEARD_OF"), 0);
        assert_eq!(key::name(0), None);
        assert_eq!(key::name(200), None);
    }
}
