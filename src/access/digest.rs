//! Digest authentication (RFC 7616): what the client sends, and what it has to have computed.

use md5::{Digest as _, Md5};
use sha2::Sha256;

/// A hash function. The script's hash of a password tells by its length which one it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    Md5,
    Sha256,
}

impl Algorithm {
    /// Its name in headers.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Md5 => "MD5",
            Algorithm::Sha256 => "SHA-256",
        }
    }

    /// The algorithm of a hash in hexadecimal digits.
    pub fn of_hash(hash: &[u8]) -> Option<Self> {
        match hash.len() {
            32 => Some(Algorithm::Md5),
            64 => Some(Algorithm::Sha256),
            _ => None,
        }
    }

    fn named(name: &[u8]) -> Option<Self> {
        let is_it = |it: &Self| name.eq_ignore_ascii_case(it.name().as_bytes());
        [Algorithm::Md5, Algorithm::Sha256].into_iter().find(is_it)
    }

    /// Hexadecimal digits of the hash of the parts, joined by colons.
    fn hash(self, parts: &[&[u8]]) -> Vec<u8> {
        let joined = parts.join(&b':');
        match self {
            Algorithm::Md5 => hex(&Md5::digest(joined)),
            Algorithm::Sha256 => hex(&Sha256::digest(joined)),
        }
    }
}

/// Lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = |byte: &u8| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
    bytes.iter().flat_map(digits).collect()
}

/// Whether two secrets are the same, in a time that depends on their lengths only.
pub fn is_same(one: &[u8], other: &[u8]) -> bool {
    let differences = one.iter().zip(other).fold(0, |all, (a, b)| all | (a ^ b));
    one.len() == other.len() && std::hint::black_box(differences) == 0
}

/// The credentials of a request, unquoted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    pub user: Vec<u8>,
    pub realm: Vec<u8>,
    pub nonce: Vec<u8>,
    pub uri: Vec<u8>,
    pub opaque: Option<Vec<u8>>,
    pub algorithm: Algorithm,
    /// As a number.
    pub count: u32,
    /// As it was sent.
    count_text: Vec<u8>,
    cnonce: Vec<u8>,
    response: Vec<u8>,
}

impl Credentials {
    /// Reads the value of an Authorization header. `None`: it is of another scheme, or lacks what
    /// `qop=auth` requires, or says something twice.
    pub fn parse(header: &[u8]) -> Option<Self> {
        const SCHEME: &[u8] = b"digest ";
        let (scheme, rest) = header.split_at_checked(SCHEME.len())?;
        if !scheme.eq_ignore_ascii_case(SCHEME) {
            return None;
        }
        let mut parameters = Parameters::read(rest)?;
        let mut take = |name: &[u8]| parameters.take(name);
        let algorithm = match take(b"algorithm") {
            None => Algorithm::Md5,
            Some(name) => Algorithm::named(&name)?,
        };
        let qop = take(b"qop")?;
        let count_text = take(b"nc")?;
        let response = take(b"response")?.to_ascii_lowercase();
        let fits = qop.eq_ignore_ascii_case(b"auth") && count_text.len() == 8;
        fits.then_some(())?;
        Some(Credentials {
            user: take(b"username")?,
            realm: take(b"realm")?,
            nonce: take(b"nonce")?,
            uri: take(b"uri")?,
            opaque: take(b"opaque"),
            cnonce: take(b"cnonce")?,
            count: number(&count_text)?,
            count_text,
            response,
            algorithm,
        })
    }

    /// Whether the client knows the password behind `hash`, which the algorithm has made of
    /// `user:realm:password`.
    pub fn proves(&self, hash: &[u8], method: &[u8]) -> bool {
        let request = self.algorithm.hash(&[method, &self.uri]);
        let expected = self.algorithm.hash(&[
            hash,
            &self.nonce,
            &self.count_text,
            &self.cnonce,
            b"auth",
            &request,
        ]);
        is_same(&expected, &self.response)
    }

    /// Whether the credentials were made for a request's URI, as the request line has it: origin form,
    /// or with scheme and host in front.
    pub fn are_for(&self, uri: &[u8]) -> bool {
        path_of(&self.uri) == path_of(uri)
    }
}

/// A URI without scheme and host.
fn path_of(uri: &[u8]) -> &[u8] {
    if uri.starts_with(b"/") {
        return uri;
    }
    let Some(at) = uri.windows(3).position(|part| part == b"://") else { return uri };
    let rest = &uri[at + 3..];
    rest.iter().position(|byte| *byte == b'/').map_or(b"/", |slash| &rest[slash..])
}

fn number(digits: &[u8]) -> Option<u32> {
    // The sign that from_str_radix takes is no digit.
    let all_digits = digits.iter().all(u8::is_ascii_hexdigit);
    let digits = std::str::from_utf8(digits).ok().filter(|_| all_digits)?;
    u32::from_str_radix(digits, 16).ok()
}

/// Names and values, in any order.
struct Parameters(Vec<(Vec<u8>, Vec<u8>)>);

impl Parameters {
    fn read(mut rest: &[u8]) -> Option<Self> {
        let mut all: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        loop {
            rest = rest.trim_ascii_start();
            while let Some(after) = rest.strip_prefix(b",") {
                rest = after.trim_ascii_start();
            }
            if rest.is_empty() {
                return Some(Parameters(all));
            }
            let equals = rest.iter().position(|byte| *byte == b'=')?;
            let name = rest[..equals].trim_ascii_end().to_ascii_lowercase();
            let (value, after) = value(rest[equals + 1..].trim_ascii_start())?;
            if name.is_empty()
                || !name.iter().all(is_token)
                || all.iter().any(|(known, _)| *known == name)
            {
                return None;
            }
            all.push((name, value));
            rest = after.trim_ascii_start();
            if !rest.is_empty() && !rest.starts_with(b",") {
                return None;
            }
        }
    }

    fn take(&mut self, name: &[u8]) -> Option<Vec<u8>> {
        let at = self.0.iter().position(|(known, _)| known == name)?;
        Some(self.0.swap_remove(at).1)
    }
}

/// A token or a quoted string at the start of `input`, and what follows it.
fn value(input: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let Some(mut rest) = input.strip_prefix(b"\"") else {
        let end = input.iter().position(|byte| !is_token(byte)).unwrap_or(input.len());
        return (end > 0).then(|| (input[..end].to_vec(), &input[end..]));
    };
    let mut value = Vec::new();
    loop {
        let (byte, after) = rest.split_first()?;
        rest = after;
        match byte {
            b'"' => return Some((value, rest)),
            b'\\' => {
                let (escaped, after) = rest.split_first()?;
                value.push(*escaped);
                rest = after;
            }
            byte => value.push(*byte),
        }
    }
}

/// RFC 9110, and what clients send unquoted besides.
fn is_token(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~/:@".contains(byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7616, section 3.9.1.
    fn example(algorithm: &str, response: &str) -> String {
        format!(
            "Digest username=\"Mufasa\", realm=\"http-auth@example.org\", uri=\"/dir/index.html\", \
             algorithm={algorithm}, nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", \
             nc=00000001, cnonce=\"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ\", qop=auth, \
             response=\"{response}\", opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\""
        )
    }

    const MD5: &str = "8ca523f5e9506fed4657c9700eebdbec";
    const SHA256: &str = "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1";

    #[test]
    fn the_examples_of_the_rfc() {
        let secret: [&[u8]; 3] = [b"Mufasa", b"http-auth@example.org", b"Circle of Life"];
        for (algorithm, response) in [(Algorithm::Md5, MD5), (Algorithm::Sha256, SHA256)] {
            let header = example(algorithm.name(), response);
            let credentials = Credentials::parse(header.as_bytes()).unwrap();
            assert_eq!(credentials.algorithm, algorithm);
            assert_eq!(credentials.count, 1);
            let hash = algorithm.hash(&secret);
            assert_eq!(Algorithm::of_hash(&hash), Some(algorithm));
            assert!(credentials.proves(&hash, b"GET"));
            assert!(!credentials.proves(&hash, b"POST"));
            assert!(!credentials.proves(&algorithm.hash(&[b"Mufasa"]), b"GET"));
            assert!(credentials.are_for(b"/dir/index.html"));
            assert!(!credentials.are_for(b"/dir/index.html?"));
        }
    }

    #[test]
    fn what_is_incomplete_or_ambiguous_is_refused() {
        let good = example("MD5", MD5);
        assert!(Credentials::parse(good.as_bytes()).is_some());
        for (part, instead) in [
            ("Digest ", "Basic "),
            ("Digest ", "Digest"),
            ("qop=auth,", "qop=auth-int,"),
            ("qop=auth,", ""),
            ("nc=00000001", "nc=1"),
            ("nc=00000001", "nc=+0000001"),
            ("nc=00000001", "nc=0000000g"),
            ("algorithm=MD5", "algorithm=MD5-sess"),
            ("username=\"Mufasa\"", "user=\"Mufasa\""),
            ("username=\"Mufasa\"", "username=\"Mufasa"),
            ("username=\"Mufasa\"", "username="),
            ("username=\"Mufasa\"", "username=\"Mufasa\" \"x\""),
            ("username=\"Mufasa\"", "username=\"Mufasa\", USERNAME=\"Simba\""),
            ("cnonce=", "conce="),
            ("response=", "="),
        ] {
            assert!(good.contains(part));
            let bad = good.replacen(part, instead, 1);
            assert_eq!(Credentials::parse(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn quoted_strings_are_unquoted() {
        let header = example("MD5", MD5).replace("Mufasa", r#"a\"b\\c, d=e"#);
        let header = header.replace("Digest username", "dIGEST ,, UserName");
        assert_eq!(Credentials::parse(header.as_bytes()).unwrap().user, br#"a"b\c, d=e"#);
        let header = example("\"md5\"", MD5);
        assert!(Credentials::parse(header.as_bytes()).is_some());
        let header = example("MD5", MD5).replace("algorithm=MD5, ", "");
        assert_eq!(Credentials::parse(header.as_bytes()).unwrap().algorithm, Algorithm::Md5);
    }

    #[test]
    fn no_cut_panics() {
        let header = example("MD5", MD5);
        let without_opaque = header.find(", opaque=").unwrap();
        for end in 0..header.len() {
            let read = Credentials::parse(&header.as_bytes()[..end]);
            let whole = (without_opaque..=without_opaque + 2).contains(&end);
            assert_eq!(read.is_some(), whole, "cut at {end}");
        }
    }

    #[test]
    fn uris_are_compared_behind_the_host() {
        let of = |uri: &str| {
            let header = example("MD5", MD5).replace("/dir/index.html", uri);
            Credentials::parse(header.as_bytes()).unwrap()
        };
        assert!(of("http://a.b:80/x?y").are_for(b"/x?y"));
        assert!(of("/x?y").are_for(b"http://a.b:80/x?y"));
        assert!(of("http://a.b").are_for(b"/"));
        assert!(of("/x?u=http://a/b").are_for(b"/x?u=http://a/b"));
        assert!(!of("/x?u=http://a/b").are_for(b"/b"));
        assert!(of("*").are_for(b"*"));
    }

    #[test]
    fn secrets_are_compared_whole() {
        assert!(is_same(b"", b"") && is_same(b"ab", b"ab"));
        assert!(!is_same(b"ab", b"a") && !is_same(b"ab", b"aB") && !is_same(b"", b"a"));
    }
}
