//! mod_ssl's formats of what nginx says in its own.

/// Attribute types of a distinguished name as OpenSSL writes them, and as mod_ssl does.
const ATTRIBUTES: [(&[u8], &str); 14] = [
    (b"C", "C"),
    (b"ST", "ST"),
    (b"L", "L"),
    (b"O", "O"),
    (b"OU", "OU"),
    (b"CN", "CN"),
    (b"title", "T"),
    (b"initials", "I"),
    (b"GN", "G"),
    (b"SN", "S"),
    (b"description", "D"),
    (b"UID", "UID"),
    (b"DC", "DC"),
    (b"emailAddress", "Email"),
];

/// A distinguished name in RFC 2253's form, whose bytes above 127 nginx escapes and mod_ssl does
/// not.
pub fn name(dn: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(dn.len());
    let mut rest = dn;
    while let [byte, tail @ ..] = rest {
        match escaped_byte(rest) {
            Some(byte) if byte >= 0x80 => {
                out.push(byte);
                rest = &rest[3..];
            }
            // A backslash that is escaped begins no escape.
            _ if rest.starts_with(b"\\\\") => {
                out.extend_from_slice(b"\\\\");
                rest = &rest[2..];
            }
            _ => {
                out.push(*byte);
                rest = tail;
            }
        }
    }
    out
}

/// The parts of a distinguished name that mod_ssl has variables for, by the ends of their names
/// (`CN`, `OU`, `OU_1` for the second of a kind), in the order of the certificate.
pub fn parts(dn: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut found: Vec<(String, Vec<u8>)> = Vec::new();
    let mut seen = [0; ATTRIBUTES.len()];
    // RFC 2253 has the last part first.
    for part in split(dn).iter().rev() {
        let Some(at) = part.iter().position(|byte| *byte == b'=') else { continue };
        let Some(index) = ATTRIBUTES.iter().position(|(known, _)| *known == &part[..at]) else {
            continue;
        };
        let key = match seen[index] {
            0 => ATTRIBUTES[index].1.to_owned(),
            nth => format!("{}_{nth}", ATTRIBUTES[index].1),
        };
        seen[index] += 1;
        found.push((key, unescape(&part[at + 1..])));
    }
    found
}

/// The attributes between commas and pluses that are not escaped.
fn split(dn: &[u8]) -> Vec<&[u8]> {
    let mut escaped = false;
    dn.split(|byte| {
        let separates = !escaped && matches!(byte, b',' | b'+');
        escaped = !escaped && *byte == b'\\';
        separates
    })
    .collect()
}

/// A value without its escapes; control characters stay as they are written.
fn unescape(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    let mut rest = value;
    while let [byte, tail @ ..] = rest {
        match (escaped_byte(rest), byte, tail) {
            (Some(byte), ..) if byte >= 0x80 => {
                out.push(byte);
                rest = &rest[3..];
            }
            (None, b'\\', [escaped, after @ ..]) => {
                out.push(*escaped);
                rest = after;
            }
            _ => {
                out.push(*byte);
                rest = tail;
            }
        }
    }
    out
}

/// The byte of an escape in hexadecimal digits that `text` begins with.
fn escaped_byte(text: &[u8]) -> Option<u8> {
    let [b'\\', high, low, ..] = text else { return None };
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    Some((digit(high)? << 4 | digit(low)?) as u8)
}

/// Key bits of a cipher suite by its name, those in use and those of the algorithm; `None` for
/// ciphers that no TLS of today offers.
pub fn key_bits(cipher: &[u8]) -> Option<(&'static str, &'static str)> {
    let has = |text: &str| cipher.windows(text.len()).any(|part| part == text.as_bytes());
    match () {
        () if has("CHACHA20") => Some(("256", "256")),
        () if ["AES256", "AES_256", "CAMELLIA256", "ARIA256"].into_iter().any(has) => {
            Some(("256", "256"))
        }
        () if ["AES128", "AES_128", "CAMELLIA128", "ARIA128"].into_iter().any(has) => {
            Some(("128", "128"))
        }
        () if has("DES-CBC3") => Some(("112", "168")),
        () => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_above_127_are_not_escaped() {
        assert_eq!(
            name(b"CN=Ren\\C3\\A9\\, x,O=a\\\\C3"),
            "CN=Ren\u{e9}\\, x,O=a\\\\C3".as_bytes()
        );
        assert_eq!(name(b"CN=a\\0Ab"), b"CN=a\\0Ab");
        assert_eq!(name(b"CN=\\"), b"CN=\\");
    }

    #[test]
    fn parts_have_mod_ssl_s_names() {
        let parts = parts(b"emailAddress=a@b,CN=x\\, y+OU=2,OU=1\\C3\\A9,1.2.3=z,title=t,C=DE");
        let expected: [(&str, &[u8]); 6] = [
            ("C", b"DE"),
            ("T", b"t"),
            ("OU", b"1\xc3\xa9"),
            ("OU_1", b"2"),
            ("CN", b"x, y"),
            ("Email", b"a@b"),
        ];
        let expected = expected.map(|(key, value)| (key.to_owned(), value.to_vec()));
        assert_eq!(parts, expected);
    }

    #[test]
    fn key_bits_follow_the_cipher() {
        assert_eq!(key_bits(b"TLS_AES_256_GCM_SHA384"), Some(("256", "256")));
        assert_eq!(key_bits(b"ECDHE-RSA-AES128-GCM-SHA256"), Some(("128", "128")));
        assert_eq!(key_bits(b"TLS_CHACHA20_POLY1305_SHA256"), Some(("256", "256")));
        assert_eq!(key_bits(b"NULL-SHA"), None);
    }
}
