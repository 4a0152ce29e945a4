//! Names of request headers: which the application sees, and as what (mod_wsgi semantics c.3).

use ngx_wsgi_host::wire::Key;

/// Places for names.
const PLACES: usize = 1024;

/// Longer names have one place together: a client may make up any number of them.
const LONG: usize = 64;

/// A header's name, and what follows from it.
pub struct HeaderName {
    name: Box<[u8]>,
    /// What the environ has for it; `None`: it has no such header.
    key: Option<Key>,
    kind: Kind,
}

/// What is special about a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Authorization,
    Condition,
    Cookie,
    Host,
    /// It describes a body.
    OfTheBody,
    Other,
}

impl HeaderName {
    fn of(name: &[u8]) -> Self {
        let key = environ_key(name).and_then(|key| Key::of(&key));
        HeaderName { name: name.into(), key, kind: Kind::of(name) }
    }

    /// The key in the environ of a header that the application sees.
    pub fn key(&self, pass_authorization: bool, withheld: &Withheld) -> Option<&Key> {
        let passed = pass_authorization || self.kind != Kind::Authorization;
        self.key.as_ref().filter(|_| passed && !withheld.includes(self.kind))
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }
}

impl Kind {
    fn of(name: &[u8]) -> Self {
        let is = |other: &&str| name.eq_ignore_ascii_case(other.as_bytes());
        match () {
            () if is(&"Authorization") => Kind::Authorization,
            () if is(&"Cookie") => Kind::Cookie,
            () if is(&"Host") => Kind::Host,
            () if OF_THE_BODY.iter().any(is) => Kind::OfTheBody,
            () if CONDITIONS.iter().any(is) => Kind::Condition,
            () => Kind::Other,
        }
    }
}

/// The environ key of a header. `None` for one that might be taken for another, and for those that are
/// not passed on in any case.
fn environ_key(name: &[u8]) -> Option<Vec<u8>> {
    let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
    let is_fit = name.iter().all(|byte| KEY_BYTES[usize::from(*byte)] != 0);
    if name.is_empty() || !is_fit || is("Proxy") || is("Proxy-Authorization") {
        return None;
    }
    let prefix: &[u8] = if is("Content-Type") || is("Content-Length") { b"" } else { b"HTTP_" };
    let name = name.iter().map(|byte| KEY_BYTES[usize::from(*byte)]);
    Some(prefix.iter().copied().chain(name).collect())
}

/// Names that have come before, of which clients send the same again and again.
pub struct HeaderNames(Box<[Option<Box<HeaderName>>]>);

impl Default for HeaderNames {
    fn default() -> Self {
        HeaderNames((0..=PLACES).map(|_| None).collect())
    }
}

impl HeaderNames {
    /// What is to be known of a name, which has this place.
    pub fn get(&mut self, place: Place, name: &[u8]) -> &HeaderName {
        let slot = &mut self.0[if name.len() > LONG { PLACES } else { place.0 }];
        let known = slot.take().filter(|known| *known.name == *name);
        slot.insert(known.unwrap_or_else(|| Box::new(HeaderName::of(name))))
    }
}

/// What becomes of the bytes of a header's name in its environ key; 0: such a header is not passed on.
const KEY_BYTES: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 128 {
        if (byte as u8).is_ascii_alphanumeric() {
            table[byte] = (byte as u8).to_ascii_uppercase();
        }
        byte += 1;
    }
    table[b'-' as usize] = b'_';
    table
};

/// Which headers of the client the application does not see.
#[derive(Default)]
pub struct Withheld {
    pub all_but_the_bodys: bool,
    pub the_bodys: bool,
    pub conditions: bool,
}

impl Withheld {
    /// Whether it is one of them.
    pub fn includes(&self, kind: Kind) -> bool {
        match kind {
            Kind::OfTheBody => self.the_bodys,
            Kind::Condition => self.all_but_the_bodys || self.conditions,
            _ => self.all_but_the_bodys,
        }
    }
}

/// Headers that describe a body.
const OF_THE_BODY: [&str; 3] = ["Content-Length", "Content-Type", "Transfer-Encoding"];

/// Headers that ask for less than the whole response, with which nginx deals itself when it has it in
/// its cache.
const CONDITIONS: [&str; 6] =
    ["If-Modified-Since", "If-Unmodified-Since", "If-None-Match", "If-Match", "Range", "If-Range"];

/// Where a name belongs; names that are equal but for case have the same place.
#[derive(Clone, Copy)]
pub struct Place(usize);

impl Place {
    pub fn of(name: &[u8]) -> Self {
        // Other bytes than letters change as well, but all of their kind in the same way.
        const LOWER: u64 = 0x2020_2020_2020_2020;
        let letters = match (name.first_chunk(), name.last_chunk()) {
            (Some(first), Some(last)) => {
                u64::from(u32::from_le_bytes(*first)) << 32 | u64::from(u32::from_le_bytes(*last))
            }
            _ => name.iter().fold(0, |letters, byte| letters << 8 | u64::from(byte | 0x20)),
        };
        // Fibonacci hashing: the high bits of the product depend on all of the others.
        let mixed = (letters | LOWER).wrapping_add(name.len() as u64);
        let mixed = mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Place((mixed >> 32) as usize % PLACES)
    }
}

/// The places of a request's names.
#[derive(Default)]
pub struct Seen([u64; PLACES / 64]);

impl Seen {
    /// Takes notice of a name by its place. Whether it may have come before, in any spelling.
    pub fn add(&mut self, place: Place) -> bool {
        let (word, bit) = (&mut self.0[place.0 / 64], 1 << (place.0 % 64));
        let before = *word;
        *word |= bit;
        before & bit != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_repeated_name_is_missed() {
        let mut seen = Seen::default();
        for name in ["Host", "X-Forwarded-For", "Dnt", "a", ""] {
            assert!(!seen.add(Place::of(name.as_bytes())), "{name}");
        }
        for name in ["host", "HOST", "x-forwarded-FOR", "DNT", "A", ""] {
            assert!(seen.add(Place::of(name.as_bytes())), "{name}");
        }
    }

    #[test]
    fn some_headers_are_not_passed_on() {
        let is_passed = |name: &str, pass_authorization| {
            let key = environ_key(name.as_bytes());
            let known = HeaderName::of(name.as_bytes());
            let passed = known.key(pass_authorization, &Withheld::default()).cloned();
            assert!(passed.is_none() || passed == key.and_then(|key| Key::of(&key)));
            passed.is_some()
        };
        assert!(is_passed("X-Y1", false) && is_passed("authorization", true));
        for name in ["", "X_Y", "X.Y", "X\u{e9}", "proxy", "PROXY-Authorization", "authorization"] {
            assert!(!is_passed(name, false), "{name}");
        }
    }

    #[test]
    fn keys_are_those_of_cgi() {
        let key = |name: &str| String::from_utf8(environ_key(name.as_bytes()).unwrap()).unwrap();
        assert_eq!(key("x-Forwarded-1"), "HTTP_X_FORWARDED_1");
        assert_eq!(key("Content-type"), "CONTENT_TYPE");
        assert_eq!(key("content-LENGTH"), "CONTENT_LENGTH");
        assert_eq!(key("Content-Lengths"), "HTTP_CONTENT_LENGTHS");
    }

    #[test]
    fn names_in_one_place_are_told_apart() {
        let mut names = HeaderNames::default();
        let long = |last| [&[b'x'; LONG][..], last].concat();
        for _ in 0..2 {
            for name in [&b"Host"[..], b"HOST", b"Hose", &long(b"1"), &long(b"2"), &long(b"2")] {
                let key = Key::of(&environ_key(name).unwrap());
                // All of them in the same place.
                let known = names.get(Place(7), name);
                assert_eq!((&*known.name, &known.key), (name, &key));
            }
        }
        assert_eq!(names.0.iter().flatten().count(), 2);
    }

    #[test]
    fn headers_are_withheld_by_kind() {
        let includes = |withheld: &Withheld, name: &[u8]| withheld.includes(Kind::of(name));
        let bodys = Withheld { the_bodys: true, ..Withheld::default() };
        assert!(includes(&bodys, b"content-type") && !includes(&bodys, b"Range"));
        let others = Withheld { all_but_the_bodys: true, ..Withheld::default() };
        assert!(!includes(&others, b"Content-Type") && includes(&others, b"Range"));
        assert!(includes(&others, b"Host") && includes(&others, b"X-Y"));
        let conditions = Withheld { conditions: true, ..Withheld::default() };
        assert!(includes(&conditions, b"if-none-match") && !includes(&conditions, b"Accept"));
    }
}
