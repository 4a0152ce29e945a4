//! The CGI part of the environ, as far as nginx knows it (mod_wsgi semantics c.1 to c.5). The host
//! adds what belongs to Python.

use std::borrow::Cow;

use nginx_sys::{
    ngx_connection_local_sockaddr, ngx_inet_get_port, ngx_sock_ntop, ngx_unescape_uri, NGINX_VER,
    NGX_HTTP_HEAD,
};
use ngx_wsgi_host::wire::RequestEncoder;

use super::decimal::dotted;
use super::entries::Entries;
use super::header_names::{HeaderNames, Kind, Place, Seen, Withheld};
use super::names::{listener_port, local_port, server_name};
use super::neighbours::Neighbours;
use super::{links, proxies, Target};
use crate::conf::{LocationConf, MapHead};
use crate::ffi::{buf_size, bytes, code, pid, Request};
use crate::route::collapse;

/// What nginx itself wants of the application.
#[derive(Default)]
pub struct Asked {
    /// A whole response to a HEAD request.
    pub whole: bool,
    /// One that can be kept for others: what this client has in its own cache does not matter.
    pub for_cache: bool,
}

/// Writes the environ of a request.
pub fn encode(
    r: Request,
    conf: &LocationConf,
    neighbours: &Neighbours,
    target: &Target,
    asked: &Asked,
    out: &mut RequestEncoder,
) {
    let mut entries = Entries(out);
    request_line(r, method(r, conf, neighbours, asked), target, &mut entries);
    server(r, neighbours, target, &mut entries);
    client(r, neighbours, &mut entries);
    redirect(r, &mut entries);
    let withheld = Withheld {
        all_but_the_bodys: conf.upstream.pass_request_headers == 0,
        the_bodys: conf.upstream.pass_request_body == 0,
        conditions: asked.for_cache,
    };
    headers(r, neighbours, target, withheld, &mut entries);
    if asked.for_cache {
        neighbours.revalidate(r, |key, value| entries.set(key, value));
    }
    params(r, conf, &mut entries);
    if let Some(headers) = &conf.trusted_proxy_headers {
        let trusted = conf.trusted_proxies.as_ref().map(|trusted| &***trusted);
        proxies::apply(&mut entries, headers, trusted);
    }
}

/// Writes the environ of a hook, which is not the application's: there is no body, and no parameter
/// of the configuration.
pub fn encode_for_hook(
    r: Request,
    neighbours: &Neighbours,
    target: &Target,
    out: &mut RequestEncoder,
) {
    let mut entries = Entries(out);
    // SAFETY: lives as long as the request.
    request_line(r, unsafe { bytes(&r.get().method_name) }, target, &mut entries);
    server(r, neighbours, target, &mut entries);
    client(r, neighbours, &mut entries);
    redirect(r, &mut entries);
    headers(r, neighbours, target, Withheld::default(), &mut entries);
    // nginx looks no names up.
    // SAFETY: a request has its connection, which has the peer's address.
    entries.set("REMOTE_HOST", unsafe { bytes(&(*r.connection()).addr_text) });
    entries.set("SERVER_SIGNATURE", "");
}

/// HEAD is presented as GET where that may change what nginx makes of the answer (semantics d.8).
fn method<'a>(r: Request, conf: &LocationConf, neighbours: &Neighbours, asked: &Asked) -> &'a [u8] {
    let mapped = r.get().method == NGX_HTTP_HEAD as usize
        && match conf.map_head_to_get() {
            MapHead::Off => false,
            MapHead::On => true,
            MapHead::Auto => asked.whole || neighbours.changes_content(r),
        };
    if mapped {
        return b"GET";
    }
    // SAFETY: lives as long as the request.
    unsafe { bytes(&r.get().method_name) }
}

fn request_line(r: Request, method: &[u8], target: &Target, entries: &mut Entries<'_>) {
    let request = r.get();
    // SAFETY: these strings live as long as the request.
    let (uri, args, protocol) = unsafe {
        (bytes(&request.unparsed_uri), bytes(&request.args), bytes(&request.http_protocol))
    };
    entries.set("REQUEST_METHOD", method);
    entries.set("REQUEST_URI", uri);
    entries.set("SCRIPT_NAME", &*target.route.script_name);
    entries.set("PATH_INFO", &*target.route.path_info);
    entries.set("QUERY_STRING", args);
    match &target.route.handled {
        None => entries.set("SCRIPT_FILENAME", &*target.route.script),
        Some(handled) => {
            entries.set("SCRIPT_FILENAME", &*handled.resource);
            entries.set("mod_wsgi.request_handler", &*handled.handler);
            entries.set("mod_wsgi.handler_script", &*target.route.script);
        }
    }
    // HTTP/0.9 has no protocol on its request line.
    entries.set("SERVER_PROTOCOL", if protocol.is_empty() { b"HTTP/0.9" } else { protocol });
}

fn server(r: Request, neighbours: &Neighbours, target: &Target, entries: &mut Entries<'_>) {
    let scheme = if r.is_tls() { "https" } else { "http" };
    let mut buffer = [0; ADDRESS];
    let address = local_address(r, &mut buffer);
    let root = neighbours.document_root(r);
    let root = match &target.jail {
        Some(jail) => crate::route::jail::directory(jail, root),
        None => Some(root),
    };
    entries.set("SERVER_NAME", escape_html(server_name(r)));
    entries.set_number("SERVER_PORT", local_port(r));
    entries.set("SERVER_ADDR", address);
    entries.set("SERVER_SOFTWARE", NGINX_VER.to_bytes());
    entries.set("CONTEXT_PREFIX", "");
    if let Some(root) = root {
        entries.set("DOCUMENT_ROOT", root);
        entries.set("CONTEXT_DOCUMENT_ROOT", root);
    }
    entries.set("REQUEST_SCHEME", scheme);
    if r.is_tls() {
        entries.set("HTTPS", "1");
        if let Some(tls) = &neighbours.tls {
            tls.tell(r, |key, value| entries.set(key, value));
        }
    }
    entries.set("mod_wsgi.listener_host", address);
    entries.set_number("mod_wsgi.listener_port", listener_port(r));
    entries.set_number("mod_wsgi.server_pid", pid());
    if let Some(id) = neighbours.request_id.get(r) {
        entries.set("mod_wsgi.request_id", id);
    }
    // SAFETY: a request has its connection.
    let number = unsafe { (*r.connection()).number };
    entries.set_number("mod_wsgi.connection_id", number);
}

/// Room for any address.
const ADDRESS: usize = 128;

/// The address that accepted the request, as text.
fn local_address(r: Request, buffer: &mut [u8; ADDRESS]) -> &[u8] {
    // SAFETY: a live connection, whose address is known afterwards; nginx writes no more than the
    // length of the buffer.
    let len = unsafe {
        let c = r.connection();
        if ngx_connection_local_sockaddr(c, std::ptr::null_mut(), 0) != code::OK {
            return &[];
        }
        let address = (*c).local_sockaddr;
        match i32::from((*address).sa_family) {
            libc::AF_INET => {
                let address = (*address.cast::<libc::sockaddr_in>()).sin_addr.s_addr;
                dotted(address.to_ne_bytes(), buffer)
            }
            _ => ngx_sock_ntop(address, (*c).local_socklen, buffer.as_mut_ptr(), ADDRESS, 0),
        }
    };
    &buffer[..len]
}

/// A name that the client made up may end in a page.
fn escape_html(name: &[u8]) -> Cow<'_, [u8]> {
    let special = |byte: &u8| matches!(byte, b'<' | b'>' | b'&' | b'"');
    if !name.iter().any(special) {
        return Cow::Borrowed(name);
    }
    let mut out = Vec::with_capacity(name.len() * 2);
    for byte in name {
        match byte {
            b'<' => out.extend_from_slice(b"&lt;"),
            b'>' => out.extend_from_slice(b"&gt;"),
            b'&' => out.extend_from_slice(b"&amp;"),
            b'"' => out.extend_from_slice(b"&quot;"),
            _ => out.push(*byte),
        }
    }
    Cow::Owned(out)
}

fn client(r: Request, neighbours: &Neighbours, entries: &mut Entries<'_>) {
    // SAFETY: a request has its connection, which has the peer's address.
    let (address, port) = unsafe {
        let c = r.connection();
        (bytes(&(*c).addr_text), ngx_inet_get_port((*c).sockaddr))
    };
    entries.set("REMOTE_ADDR", address);
    match neighbours.replaced_port(r) {
        None => entries.set_number("REMOTE_PORT", port),
        Some(port) => entries.set("REMOTE_PORT", port),
    }
    if let Some(user) = neighbours.authenticated_user(r) {
        entries.set("REMOTE_USER", user);
        entries.set("AUTH_TYPE", "Basic");
    } else if let Some((user, kind)) = crate::access::authenticated_user(r) {
        entries.set("REMOTE_USER", user);
        entries.set("AUTH_TYPE", kind);
    }
}

/// What the client asked for, when nginx has led the request elsewhere: with `error_page`, for one.
fn redirect(r: Request, entries: &mut Entries<'_>) {
    // Subrequests are internal by nature.
    if !r.is_main() || !r.internal() {
        return;
    }
    // SAFETY: lives as long as the request.
    let uri = unsafe { bytes(&r.get().unparsed_uri) };
    let mut parts = uri.splitn(2, |byte| *byte == b'?');
    let path = parts.next().unwrap_or_default();
    let status = r.get().err_status;
    entries.set_number("REDIRECT_STATUS", if status == 0 { 200 } else { status as u64 });
    entries.set("REDIRECT_URL", collapse(&unescape(path)));
    if let Some(query) = parts.next() {
        entries.set("REDIRECT_QUERY_STRING", query);
    }
}

fn unescape(path: &[u8]) -> Vec<u8> {
    let mut out = path.to_vec();
    let (mut from, start) = (path.as_ptr().cast_mut(), out.as_mut_ptr());
    let mut to = start;
    // SAFETY: reads path, which it does not write to, and writes at most as many bytes to out.
    let len = unsafe {
        ngx_unescape_uri(&mut to, &mut from, path.len(), 0);
        to.offset_from(start)
    };
    out.truncate(len.max(0) as usize);
    out
}

fn headers(
    r: Request,
    neighbours: &Neighbours,
    target: &Target,
    mut withheld: Withheld,
    entries: &mut Entries<'_>,
) {
    // A subrequest has the headers of the client's request, but perhaps not its body; after an
    // internal redirect the body may have been used.
    withheld.the_bodys |= (!r.is_main() || r.internal()) && !has_body(r);
    let names = &mut *neighbours.header_names.borrow_mut();
    let (mut seen, mut has_host) = (Seen::default(), false);
    let start = entries.0.mark();
    for (index, (name, value)) in r.headers().enumerate() {
        let place = Place::of(name);
        let known = names.get(place, name);
        let Some(key) = known.key(target.pass_authorization, &withheld) else { continue };
        if seen.add(place) && comes_before(r, index, name) {
            // All the values of a name stand at its first place.
            entries.0.go_back(start);
            has_host = joined_headers(r, names, target, &withheld, entries);
            break;
        }
        has_host |= known.kind() == Kind::Host;
        entries.0.keyed(key, |out| out.extend_from_slice(trimmed(value)));
    }
    // HTTP/3 may name the host in :authority alone.
    if !withheld.all_but_the_bodys && !has_host {
        // SAFETY: lives as long as the request.
        let host = unsafe { bytes(&r.get().headers_in.server) };
        if !host.is_empty() {
            entries.set("HTTP_HOST", host);
        }
    }
}

/// Writes headers of which some come more than once. Whether Host is among them.
fn joined_headers(
    r: Request,
    names: &mut HeaderNames,
    target: &Target,
    withheld: &Withheld,
    entries: &mut Entries<'_>,
) -> bool {
    let mut has_host = false;
    for (index, (name, _)) in r.headers().enumerate() {
        let known = names.get(Place::of(name), name);
        let Some(key) = known.key(target.pass_authorization, withheld) else { continue };
        if comes_before(r, index, name) {
            continue;
        }
        has_host |= known.kind() == Kind::Host;
        let separator: &[u8] = if known.kind() == Kind::Cookie { b"; " } else { b", " };
        let same = r.headers().filter(|(other, _)| other.eq_ignore_ascii_case(name));
        entries.0.keyed(key, |out| {
            for (index, (_, value)) in same.enumerate() {
                if index > 0 {
                    out.extend_from_slice(separator);
                }
                out.extend_from_slice(trimmed(value));
            }
        });
    }
    has_host
}

/// Whether one of the first `count` headers has the name.
fn comes_before(r: Request, count: usize, name: &[u8]) -> bool {
    r.headers().take(count).any(|(other, _)| other.eq_ignore_ascii_case(name))
}

/// nginx leaves tabs around a value.
fn trimmed(value: &[u8]) -> &[u8] {
    value.trim_ascii()
}

/// Whether there is a body to send, or may be one to come.
fn has_body(r: Request) -> bool {
    // SAFETY: links of a body have their buffer.
    r.request_body_no_buffering()
        || links(r.body()).any(|link| unsafe { buf_size((*link).buf) } > 0)
}

fn params(r: Request, conf: &LocationConf, entries: &mut Entries<'_>) {
    // The last one of a name counts, and what the server knows itself counts more.
    for param in conf.params.iter().rev() {
        let name = param.name.as_bytes();
        if withheld(name) {
            continue;
        }
        let value = param.value.evaluate(r).unwrap_or_default();
        if !(param.if_not_empty && value.is_empty()) {
            // The host takes this one for the scheme.
            let https = name.eq_ignore_ascii_case(b"HTTPS");
            entries.set_default(if https { b"HTTPS" } else { name }, value);
        }
    }
}

/// Names that no application sees (semantics c.1).
fn withheld(name: &[u8]) -> bool {
    const INTERNAL: &[u8] = b"mod_wsgi.x-";
    let computed: [&[u8]; 4] = [
        b"mod_wsgi.script_name",
        b"mod_wsgi.mount_point",
        b"mod_wsgi.request_handler",
        b"mod_wsgi.handler_script",
    ];
    name.eq_ignore_ascii_case(b"PATH")
        || computed.iter().any(|known| name.eq_ignore_ascii_case(known))
        || name.get(..INTERNAL.len()).is_some_and(|start| start.eq_ignore_ascii_case(INTERNAL))
}
