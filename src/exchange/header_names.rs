//! Names of request headers: which the application sees, and as what (mod_wsgi semantics c.3).

/// Whether the application may see a request header of this name, if [`write_key`] makes a key of it.
pub fn is_passed(name: &[u8], pass_authorization: bool) -> bool {
    let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
    !is("Proxy") && !is("Proxy-Authorization") && (pass_authorization || !is("Authorization"))
}

/// Writes the environ key of a header. `false`: the name has what might be taken for another's key, the
/// header is not passed on, and what has been written is of no use.
pub fn write_key(name: &[u8], out: &mut Vec<u8>) -> bool {
    let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
    if !is("Content-Type") && !is("Content-Length") {
        out.extend_from_slice(b"HTTP_");
    }
    let mut is_fit = !name.is_empty();
    out.extend(name.iter().map(|byte| {
        let byte = KEY_BYTES[usize::from(*byte)];
        is_fit &= byte != 0;
        byte
    }));
    is_fit
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
    pub fn includes(&self, name: &[u8]) -> bool {
        if !(self.all_but_the_bodys || self.the_bodys || self.conditions) {
            return false;
        }
        let is_in =
            |names: &[&str]| names.iter().any(|it| name.eq_ignore_ascii_case(it.as_bytes()));
        if is_in(&OF_THE_BODY) {
            return self.the_bodys;
        }
        self.all_but_the_bodys || self.conditions && is_in(&CONDITIONS)
    }
}

/// Headers that describe a body.
const OF_THE_BODY: [&str; 3] = ["Content-Length", "Content-Type", "Transfer-Encoding"];

/// Headers that ask for less than the whole response, with which nginx deals itself when it has it in
/// its cache.
const CONDITIONS: [&str; 6] =
    ["If-Modified-Since", "If-Unmodified-Since", "If-None-Match", "If-Match", "Range", "If-Range"];

/// Tells of most header names at little cost that none like them has come before.
#[derive(Default)]
pub struct NameFilter([u64; 4]);

impl NameFilter {
    /// Takes notice of a name. Whether it may have come before, in any spelling.
    pub fn add(&mut self, name: &[u8]) -> bool {
        let (word, bit) = Self::place(name);
        let before = self.0[word];
        self.0[word] |= bit;
        before & bit != 0
    }

    /// Names that are equal but for case have the same place.
    fn place(name: &[u8]) -> (usize, u64) {
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
        ((mixed >> 62) as usize, 1 << (mixed >> 56 & 63))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_misses_no_repeated_name() {
        let mut names = NameFilter::default();
        for name in ["Host", "X-Forwarded-For", "Dnt", "a", ""] {
            assert!(!names.add(name.as_bytes()), "{name}");
        }
        for name in ["host", "HOST", "x-forwarded-FOR", "DNT", "A", ""] {
            assert!(names.add(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn some_headers_are_not_passed_on() {
        assert!(is_passed(b"X-Y1", false) && is_passed(b"authorization", true));
        for name in ["proxy", "PROXY-Authorization", "authorization"] {
            assert!(!is_passed(name.as_bytes(), false), "{name}");
        }
    }

    #[test]
    fn some_names_have_no_key() {
        for name in ["", "X_Y", "X.Y", "X\u{e9}", "Content-Type_", "X\0"] {
            assert!(!write_key(name.as_bytes(), &mut Vec::new()), "{name}");
        }
    }

    #[test]
    fn keys_are_those_of_cgi() {
        let key = |name: &str| {
            let mut out = Vec::new();
            assert!(write_key(name.as_bytes(), &mut out));
            String::from_utf8(out).unwrap()
        };
        assert_eq!(key("x-Forwarded-1"), "HTTP_X_FORWARDED_1");
        assert_eq!(key("Content-type"), "CONTENT_TYPE");
        assert_eq!(key("content-LENGTH"), "CONTENT_LENGTH");
        assert_eq!(key("Content-Lengths"), "HTTP_CONTENT_LENGTHS");
    }

    #[test]
    fn headers_are_withheld_by_kind() {
        let bodys = Withheld { the_bodys: true, ..Withheld::default() };
        assert!(bodys.includes(b"content-type") && !bodys.includes(b"Range"));
        let others = Withheld { all_but_the_bodys: true, ..Withheld::default() };
        assert!(!others.includes(b"Content-Type") && others.includes(b"Range"));
        let conditions = Withheld { conditions: true, ..Withheld::default() };
        assert!(conditions.includes(b"if-none-match") && !conditions.includes(b"Accept"));
    }
}
