//! Effective group and callable names of a request (mod_wsgi semantics a.2, a.3).

use std::borrow::Cow;

use nginx_sys::{ngx_connection_local_sockaddr, ngx_inet_get_port};

use crate::conf::{with_port, LocationConf, Setting, Token};
use crate::ffi::{bytes, code, Request};

/// How deep a value that is a token again is followed.
const DEPTH: usize = 2;

/// What a setting comes to for a request.
pub fn evaluate<'a>(
    setting: &'a Setting,
    r: Request,
    conf: &LocationConf,
    script_name: &[u8],
) -> Cow<'a, [u8]> {
    match setting {
        Setting::Variables(value) => {
            expand(value.evaluate(r).unwrap_or_default(), r, conf, script_name, DEPTH)
        }
        Setting::Token(token) => resolve(token, r, conf, script_name, DEPTH),
    }
}

/// A value from a request that may be a token itself.
fn expand<'a>(
    value: &'a [u8],
    r: Request,
    conf: &LocationConf,
    script_name: &[u8],
    depth: usize,
) -> Cow<'a, [u8]> {
    if depth > 0 && value.starts_with(b"%{") {
        if let Some(Ok(token)) = std::str::from_utf8(value).ok().map(Token::parse) {
            return resolve(&token, r, conf, script_name, depth - 1).into_owned().into();
        }
    }
    value.into()
}

fn resolve<'a>(
    token: &'a Token,
    r: Request,
    conf: &LocationConf,
    script_name: &[u8],
    depth: usize,
) -> Cow<'a, [u8]> {
    match token {
        Token::Global => Cow::default(),
        Token::Text(text) => text.as_bytes().into(),
        Token::Server => with_port(server_name(r), local_port(r)).into(),
        Token::Host => with_port(host_name(r), local_port(r)).into(),
        Token::Resource => {
            let mut name = with_port(server_name(r), local_port(r));
            name.push(b'|');
            name.extend_from_slice(script_name);
            name.into()
        }
        Token::Env(name) => match environment(name, r, conf) {
            Some(value) => expand(&value, r, conf, script_name, depth).into_owned().into(),
            None => format!("%{{ENV:{name}}}").into_bytes().into(),
        },
    }
}

/// `%{ENV:name}`: a wsgi_param, else an nginx variable, else nginx's environment.
pub fn environment(name: &str, r: Request, conf: &LocationConf) -> Option<Vec<u8>> {
    let param = conf.params.iter().rev().find(|param| param.name.eq_ignore_ascii_case(name));
    if let Some(param) = param {
        return param.value.evaluate(r).map(<[u8]>::to_vec);
    }
    if let Some(value) = r.variable(name) {
        return Some(value.to_vec());
    }
    use std::os::unix::ffi::OsStringExt;
    std::env::var_os(name).map(OsStringExt::into_vec)
}

/// The server's name; where its configuration has none, or a pattern, the one the client asked for.
pub fn server_name<'a>(r: Request) -> &'a [u8] {
    // SAFETY: the server's configuration lives as long as the cycle.
    let configured = unsafe { bytes(&r.core_server().server_name) };
    let plain = !configured.is_empty()
        && !configured.starts_with(b".")
        && !configured.iter().any(|byte| matches!(byte, b'*' | b'~'));
    if plain {
        configured
    } else {
        host_name(r)
    }
}

/// The name in the Host header, or the server's where there is none.
fn host_name<'a>(r: Request) -> &'a [u8] {
    // SAFETY: both live as long as the request.
    let (host, configured) =
        unsafe { (bytes(&r.get().headers_in.server), bytes(&r.core_server().server_name)) };
    match (host, configured) {
        (b"", b"") => b"localhost",
        (b"", name) => name,
        (host, _) => host,
    }
}

/// The port of the server's URLs: the one that accepted the request, or its scheme's for a unix
/// socket.
pub fn local_port(r: Request) -> u16 {
    match listener_port(r) {
        0 if r.is_tls() => 443,
        0 => 80,
        port => port,
    }
}

/// The port that accepted the request, 0 for a unix socket.
pub fn listener_port(r: Request) -> u16 {
    // SAFETY: a live connection; a null string asks for the address only.
    unsafe {
        let c = r.connection();
        if ngx_connection_local_sockaddr(c, std::ptr::null_mut(), 0) != code::OK {
            return 0;
        }
        ngx_inet_get_port((*c).local_sockaddr)
    }
}
