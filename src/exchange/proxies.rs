//! What trusted proxies say of the client's request (mod_wsgi semantics c.6).

use std::net::IpAddr;

use thiserror::Error;

use super::entries::Entries;

/// What a header of a proxy tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Category {
    Client,
    Host,
    Server,
    Port,
    Script,
    Scheme,
}

/// The headers that may be trusted.
const HEADERS: [(&str, Category); 15] = [
    ("HTTP_X_FORWARDED_FOR", Category::Client),
    ("HTTP_X_CLIENT_IP", Category::Client),
    ("HTTP_X_REAL_IP", Category::Client),
    ("HTTP_X_FORWARDED_HOST", Category::Host),
    ("HTTP_X_HOST", Category::Host),
    ("HTTP_X_FORWARDED_SERVER", Category::Server),
    ("HTTP_X_FORWARDED_PORT", Category::Port),
    ("HTTP_X_SCRIPT_NAME", Category::Script),
    ("HTTP_X_FORWARDED_SCRIPT_NAME", Category::Script),
    ("HTTP_X_FORWARDED_PROTO", Category::Scheme),
    ("HTTP_X_FORWARDED_SCHEME", Category::Scheme),
    ("HTTP_X_SCHEME", Category::Scheme),
    ("HTTP_X_FORWARDED_HTTPS", Category::Scheme),
    ("HTTP_X_FORWARDED_SSL", Category::Scheme),
    ("HTTP_X_HTTPS", Category::Scheme),
];

/// A header that may be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyHeader {
    name: &'static str,
    category: Category,
}

impl ProxyHeader {
    /// The header of a name; `None`: no header of that name tells anything.
    pub fn named(header: &str) -> Option<Self> {
        let upper = header.replace('-', "_").to_ascii_uppercase();
        let known = |(name, _): &&(&str, Category)| name[5..] == upper;
        HEADERS.iter().find(known).map(|&(name, category)| ProxyHeader { name, category })
    }
}

/// Addresses of proxies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// Those that begin like this one, up to so many bits.
    Addresses(IpAddr, u32),
    /// Whoever comes through a UNIX-domain socket.
    Unix,
}

/// Neither an address nor a network.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("must be an IP address, a network in CIDR notation, or \"unix:\"")]
pub struct BadNetwork;

impl Network {
    /// Reads an address, a network in CIDR notation, or `unix:`.
    ///
    /// # Errors
    ///
    /// [`BadNetwork`].
    pub fn parse(text: &str) -> Result<Self, BadNetwork> {
        if text == "unix:" {
            return Ok(Network::Unix);
        }
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| BadNetwork)?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let digits = |bits: &str| bits.bytes().all(|byte| byte.is_ascii_digit());
        let bits = match bits {
            None => longest,
            Some(bits) if digits(bits) => bits.parse().map_err(|_| BadNetwork)?,
            Some(_) => return Err(BadNetwork),
        };
        (bits <= longest).then_some(Network::Addresses(address, bits)).ok_or(BadNetwork)
    }

    fn has(&self, address: &[u8]) -> bool {
        let Network::Addresses(network, bits) = *self else { return address == b"unix:" };
        let address = std::str::from_utf8(address).ok().and_then(|text| text.parse().ok());
        let Some(address) = address.map(|address: IpAddr| address.to_canonical()) else {
            return false;
        };
        match (network, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let differing = network.to_bits() ^ address.to_bits();
                differing.checked_shr(32 - bits).unwrap_or(0) == 0
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let differing = network.to_bits() ^ address.to_bits();
                differing.checked_shr(128 - bits).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

fn trusts(proxies: &[Network], address: &[u8]) -> bool {
    proxies.iter().any(|network| network.has(address))
}

/// Puts what the configured headers say in the place of what nginx knows, if they come from a
/// trusted proxy; `proxies` is `None` when everybody is. Of the headers of a category that one of
/// them belongs to, only the one that counts is left.
pub fn apply(entries: &mut Entries<'_>, headers: &[ProxyHeader], proxies: Option<&[Network]>) {
    let peer = entries.get(b"REMOTE_ADDR").unwrap_or_default();
    let trusted = proxies.is_none_or(|proxies| trusts(proxies, peer));
    let mut winners: Vec<(Category, Option<&str>)> = Vec::new();
    for header in headers {
        let present = entries.get(header.name.as_bytes()).map(<[u8]>::to_vec);
        let value = present.filter(|_| trusted);
        let winner = value.as_ref().map(|_| header.name);
        match winners.iter_mut().find(|(category, _)| *category == header.category) {
            Some((_, known)) => *known = winner.or(*known),
            None => winners.push((header.category, winner)),
        }
        if let Some(value) = value {
            believe(entries, header, &value, proxies);
        }
    }
    for (category, winner) in winners {
        for (name, _) in HEADERS.iter().filter(|(_, of)| *of == category) {
            if winner != Some(name) {
                entries.remove(name.as_bytes());
            }
        }
    }
}

fn believe(
    entries: &mut Entries<'_>,
    header: &ProxyHeader,
    value: &[u8],
    proxies: Option<&[Network]>,
) {
    match header.category {
        Category::Client if header.name == "HTTP_X_FORWARDED_FOR" => {
            believe_chain(entries, header.name, value, proxies);
        }
        Category::Client => entries.replace("REMOTE_ADDR", value),
        Category::Host => entries.replace("HTTP_HOST", value),
        Category::Server => entries.replace("SERVER_NAME", value),
        Category::Port => entries.replace("SERVER_PORT", value),
        Category::Script => {
            let own = entries.get(b"SCRIPT_NAME").unwrap_or_default().to_vec();
            entries.set_default(b"mod_wsgi.script_name", &own);
            entries.replace("SCRIPT_NAME", value);
            entries.replace("mod_wsgi.mount_point", value);
        }
        Category::Scheme => match is_https(header.name, value) {
            Some(true) => entries.replace("HTTPS", "1"),
            Some(false) => entries.remove(b"HTTPS"),
            None => {}
        },
    }
}

/// The client is who the last trusted proxy of the chain has seen. What is left of it anybody can
/// have made up, so it is cut off.
fn believe_chain(entries: &mut Entries<'_>, name: &str, value: &[u8], proxies: Option<&[Network]>) {
    let chain: Vec<&[u8]> = value
        .split(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|element| !element.is_empty())
        .collect();
    let Some(last) = chain.len().checked_sub(1) else { return };
    let Some(proxies) = proxies else { return entries.replace("REMOTE_ADDR", chain[0]) };
    let trusted = chain.iter().rev().take_while(|element| trusts(proxies, element)).count();
    let chosen = last.saturating_sub(trusted);
    entries.replace("REMOTE_ADDR", chain[chosen]);
    entries.replace(name, chain[chosen..].join(&b", "[..]));
}

/// What a scheme header says; `None`: nothing that is understood.
fn is_https(name: &str, value: &[u8]) -> Option<bool> {
    let one_of = |words: &[&str]| words.iter().any(|w| value.eq_ignore_ascii_case(w.as_bytes()));
    let (yes, no): (&[&str], &[&str]) = match name {
        "HTTP_X_FORWARDED_PROTO" | "HTTP_X_FORWARDED_SCHEME" | "HTTP_X_SCHEME" => {
            (&["https"], &["http"])
        }
        _ => (&["on", "true", "1"], &["off", "false", "0"]),
    };
    if one_of(yes) {
        Some(true)
    } else {
        one_of(no).then_some(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ngx_wsgi_host::wire::{Request, RequestEncoder, Target, HEADER_LEN};

    fn headers(names: &[&str]) -> Vec<ProxyHeader> {
        names.iter().map(|name| ProxyHeader::named(name).unwrap()).collect()
    }

    fn networks(texts: &[&str]) -> Vec<Network> {
        texts.iter().map(|text| Network::parse(text).unwrap()).collect()
    }

    /// The environ of a peer after `apply`.
    fn applied(
        peer: &str,
        given: &[(&str, &str)],
        names: &[&str],
        proxies: Option<&[&str]>,
    ) -> Vec<(String, String)> {
        let mut encoder = RequestEncoder::new(&Target::default());
        let mut entries = Entries(&mut encoder);
        entries.set("REMOTE_ADDR", peer);
        for (name, value) in given {
            entries.set(name, *value);
        }
        let proxies = proxies.map(networks);
        apply(&mut entries, &headers(names), proxies.as_deref());
        let frame = encoder.finish().unwrap();
        let request = Request::decode(&frame[HEADER_LEN..]).unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let mut all: Vec<_> =
            request.environ().map(|entry| (text(entry.name), text(entry.value))).collect();
        all.sort();
        all
    }

    fn get<'a>(all: &'a [(String, String)], name: &str) -> Option<&'a str> {
        all.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }

    /// REMOTE_ADDR and HTTP_X_FORWARDED_FOR that come of a chain.
    fn chain(value: &str, proxies: Option<&[&str]>) -> (String, Option<String>) {
        let all =
            applied("10.0.0.1", &[("HTTP_X_FORWARDED_FOR", value)], &["X-Forwarded-For"], proxies);
        let text = |name| get(&all, name).map(str::to_owned);
        (text("REMOTE_ADDR").unwrap(), text("HTTP_X_FORWARDED_FOR"))
    }

    #[test]
    fn networks_have_their_addresses() {
        let has =
            |network: &str, address: &str| Network::parse(network).unwrap().has(address.as_bytes());
        assert!(has("10.0.0.0/8", "10.1.2.3") && !has("10.0.0.0/8", "11.1.2.3"));
        assert!(has("10.9.9.9/8", "10.1.2.3"));
        assert!(has("10.0.0.1", "10.0.0.1") && !has("10.0.0.1", "10.0.0.2"));
        assert!(has("0.0.0.0/0", "1.2.3.4") && !has("0.0.0.0/0", "::1"));
        assert!(has("2001:DB8::/32", "2001:db8::7") && !has("2001:db8::/32", "2001:db9::7"));
        assert!(has("::/0", "::1"));
        assert!(has("10.0.0.0/8", "::ffff:10.1.2.3"));
        assert!(has("unix:", "unix:") && !has("unix:", "10.0.0.1") && !has("::/0", "unix:"));
        assert!(!has("10.0.0.0/8", "10.1.2.3:80") && !has("10.0.0.0/8", "host"));
        for bad in ["host", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/+8", "10.0.0", "/8", ""]
        {
            assert_eq!(Network::parse(bad), Err(BadNetwork), "{bad}");
        }
    }

    #[test]
    fn header_names_are_known_in_any_spelling() {
        assert_eq!(ProxyHeader::named("x-forwarded-for"), ProxyHeader::named("X_Forwarded_For"));
        assert_eq!(ProxyHeader::named("Forwarded"), None);
    }

    #[test]
    fn nothing_happens_without_headers() {
        let given = [("HTTP_X_FORWARDED_FOR", "1.1.1.1"), ("HTTP_X_SCHEME", "https")];
        let all = applied("10.0.0.1", &given, &[], None);
        assert_eq!(all.len(), 3);
        assert_eq!(get(&all, "REMOTE_ADDR"), Some("10.0.0.1"));
    }

    #[test]
    fn headers_of_a_stranger_vanish_with_their_whole_category() {
        let given = [
            ("HTTP_X_FORWARDED_FOR", "1.1.1.1"),
            ("HTTP_X_REAL_IP", "1.1.1.1"),
            ("HTTP_X_SCHEME", "https"),
        ];
        let all = applied("11.0.0.1", &given, &["X-Forwarded-For"], Some(&["10.0.0.0/8"]));
        let expected = [("HTTP_X_SCHEME", "https"), ("REMOTE_ADDR", "11.0.0.1")];
        assert_eq!(all, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
    }

    #[test]
    fn without_a_list_everybody_is_trusted_and_the_first_address_counts() {
        assert_eq!(chain(" , 1.1.1.1 ,10.0.0.2", None).0, "1.1.1.1");
        assert_eq!(chain("1.1.1.1,10.0.0.2", None).1.as_deref(), Some("1.1.1.1,10.0.0.2"));
    }

    #[test]
    fn the_chain_is_walked_from_the_right() {
        let with = |value| chain(value, Some(&["10.0.0.0/8"]));
        let is = |address: &str, rest: &str| (address.to_owned(), Some(rest.to_owned()));
        assert_eq!(with("6.6.6.6, 1.1.1.1, 10.0.0.3"), is("1.1.1.1", "1.1.1.1, 10.0.0.3"));
        assert_eq!(
            with("1.1.1.1,,10.0.0.3,10.0.0.4"),
            is("1.1.1.1", "1.1.1.1, 10.0.0.3, 10.0.0.4")
        );
        assert_eq!(with("10.0.0.3, 10.0.0.4"), is("10.0.0.3", "10.0.0.3, 10.0.0.4"));
        assert_eq!(with("6.6.6.6, 1.1.1.1"), is("1.1.1.1", "1.1.1.1"));
        assert_eq!(with("10.0.0.9, 1.1.1.1, 10.0.0.3"), is("1.1.1.1", "1.1.1.1, 10.0.0.3"));
        assert_eq!(with("6.6.6.6, unknown, 10.0.0.3"), is("unknown", "unknown, 10.0.0.3"));
        assert_eq!(with(" , "), is("10.0.0.1", " , "));
    }

    #[test]
    fn the_last_configured_header_that_is_there_wins() {
        let given = [("HTTP_X_REAL_IP", "1.1.1.1"), ("HTTP_X_CLIENT_IP", "2.2.2.2")];
        let names = ["X-Real-IP", "X-Client-IP", "X-Forwarded-For"];
        let all = applied("10.0.0.1", &given, &names, None);
        assert_eq!(get(&all, "REMOTE_ADDR"), Some("2.2.2.2"));
        assert_eq!(get(&all, "HTTP_X_CLIENT_IP"), Some("2.2.2.2"));
        assert_eq!(get(&all, "HTTP_X_REAL_IP"), None);
    }

    #[test]
    fn host_server_and_port_are_taken_as_they_are() {
        let given = [
            ("HTTP_HOST", "inside"),
            ("SERVER_NAME", "inside"),
            ("SERVER_PORT", "8080"),
            ("HTTP_X_FORWARDED_HOST", "outside:8443"),
            ("HTTP_X_FORWARDED_SERVER", "outside"),
            ("HTTP_X_FORWARDED_PORT", "8443"),
        ];
        let names = ["X-Forwarded-Host", "X-Forwarded-Server", "X-Forwarded-Port"];
        let all = applied("10.0.0.1", &given, &names, None);
        assert_eq!(get(&all, "HTTP_HOST"), Some("outside:8443"));
        assert_eq!(get(&all, "SERVER_NAME"), Some("outside"));
        assert_eq!(get(&all, "SERVER_PORT"), Some("8443"));
        assert_eq!(get(&all, "HTTP_X_FORWARDED_HOST"), Some("outside:8443"));
    }

    #[test]
    fn a_script_name_leaves_what_was_computed_beside_it() {
        let given = [
            ("SCRIPT_NAME", "/app"),
            ("PATH_INFO", "/x"),
            ("HTTP_X_SCRIPT_NAME", "/one"),
            ("HTTP_X_FORWARDED_SCRIPT_NAME", "/two"),
        ];
        let names = ["X-Script-Name", "X-Forwarded-Script-Name"];
        let all = applied("10.0.0.1", &given, &names, None);
        assert_eq!(get(&all, "SCRIPT_NAME"), Some("/two"));
        assert_eq!(get(&all, "PATH_INFO"), Some("/x"));
        assert_eq!(get(&all, "mod_wsgi.mount_point"), Some("/two"));
        assert_eq!(get(&all, "mod_wsgi.script_name"), Some("/app"));
        assert_eq!(get(&all, "HTTP_X_SCRIPT_NAME"), None);
    }

    #[test]
    fn a_scheme_is_set_removed_or_left() {
        let https = |name: &str, value: &str, before: &str| {
            let given = [("HTTPS", before), (name, value)];
            let header = name[5..].replace('_', "-");
            let all = applied("10.0.0.1", &given, &[&header], None);
            get(&all, "HTTPS").map(str::to_owned)
        };
        for text in ["HTTP_X_FORWARDED_PROTO", "HTTP_X_FORWARDED_SCHEME", "HTTP_X_SCHEME"] {
            assert_eq!(https(text, "HTTPS", "off").as_deref(), Some("1"));
            assert_eq!(https(text, "http", "1"), None);
            assert_eq!(https(text, "on", "off").as_deref(), Some("off"));
        }
        for flag in ["HTTP_X_FORWARDED_HTTPS", "HTTP_X_FORWARDED_SSL", "HTTP_X_HTTPS"] {
            for yes in ["On", "true", "1"] {
                assert_eq!(https(flag, yes, "off").as_deref(), Some("1"));
            }
            for no in ["off", "False", "0"] {
                assert_eq!(https(flag, no, "1"), None);
            }
            assert_eq!(https(flag, "https", "off").as_deref(), Some("off"));
        }
    }
}
