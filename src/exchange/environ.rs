//! The CGI part of the environ, as far as nginx knows it (mod_wsgi semantics c.1 to c.5). The host
//! adds what belongs to Python.

use nginx_sys::{
    ngx_connection_local_sockaddr, ngx_http_complex_value, ngx_http_complex_value_t,
    ngx_inet_get_port, ngx_str_t, NGINX_VER, NGX_HTTP_SATISFY_ANY,
};
use ngx_wsgi_host::wire::RequestEncoder;

use super::names::{local_port, server_name};
use super::Target;
use crate::conf::LocationConf;
use crate::ffi::{bytes, code, Request};

/// Environ entries in the making. Names are unique without regard to case, as in Apache's table.
#[derive(Default)]
struct Entries(Vec<(Vec<u8>, Vec<u8>)>);

impl Entries {
    fn set(&mut self, name: &str, value: impl Into<Vec<u8>>) {
        self.0.push((name.as_bytes().to_vec(), value.into()));
    }

    fn has(&self, name: &[u8]) -> bool {
        self.0.iter().any(|(known, _)| known.eq_ignore_ascii_case(name))
    }

    fn set_default(&mut self, name: &[u8], value: &[u8]) {
        if !self.has(name) {
            self.0.push((name.to_vec(), value.to_vec()));
        }
    }
}

/// Writes the environ of a request.
pub fn encode(r: Request, conf: &LocationConf, target: &Target, out: &mut RequestEncoder) {
    let mut entries = Entries::default();
    request_line(r, target, &mut entries);
    server(r, &mut entries);
    client(r, &mut entries);
    headers(r, target, &mut entries);
    params(r, conf, &mut entries);
    for (name, value) in &entries.0 {
        out.entry(name, value);
    }
}

fn request_line(r: Request, target: &Target, entries: &mut Entries) {
    let request = r.get();
    // SAFETY: these strings live as long as the request.
    let (method, uri, args, protocol) = unsafe {
        (
            bytes(&request.method_name),
            bytes(&request.unparsed_uri),
            bytes(&request.args),
            bytes(&request.http_protocol),
        )
    };
    entries.set("REQUEST_METHOD", method);
    entries.set("REQUEST_URI", uri);
    entries.set("SCRIPT_NAME", &*target.route.script_name);
    entries.set("PATH_INFO", &*target.route.path_info);
    entries.set("QUERY_STRING", args);
    entries.set("SCRIPT_FILENAME", &*target.route.script);
    // HTTP/0.9 has no protocol on its request line.
    entries.set("SERVER_PROTOCOL", if protocol.is_empty() { b"HTTP/0.9" } else { protocol });
}

fn server(r: Request, entries: &mut Entries) {
    let scheme = if r.is_tls() { "https" } else { "http" };
    let port = local_port(r).to_string();
    let address = local_address(r);
    let root = r.variable("document_root").unwrap_or_default();
    entries.set("SERVER_NAME", server_name(r));
    entries.set("SERVER_PORT", port.as_str());
    entries.set("SERVER_ADDR", &*address);
    entries.set("SERVER_SOFTWARE", NGINX_VER.to_bytes());
    entries.set("DOCUMENT_ROOT", root);
    entries.set("CONTEXT_PREFIX", "");
    entries.set("CONTEXT_DOCUMENT_ROOT", root);
    entries.set("REQUEST_SCHEME", scheme);
    if r.is_tls() {
        entries.set("HTTPS", "1");
    }
    entries.set("mod_wsgi.listener_host", address);
    entries.set("mod_wsgi.listener_port", port);
    entries.set("mod_wsgi.server_pid", std::process::id().to_string());
    if let Some(id) = r.variable("request_id") {
        entries.set("mod_wsgi.request_id", id);
    }
    // SAFETY: a request has its connection.
    let number = unsafe { (*r.connection()).number };
    entries.set("mod_wsgi.connection_id", number.to_string());
}

fn local_address(r: Request) -> Vec<u8> {
    let mut buffer = [0u8; 128];
    let mut s = ngx_str_t { len: buffer.len(), data: buffer.as_mut_ptr() };
    // SAFETY: nginx writes at most len bytes and sets it to what it wrote.
    unsafe {
        if ngx_connection_local_sockaddr(r.connection(), &mut s, 0) != code::OK {
            return Vec::new();
        }
        bytes(&s).to_vec()
    }
}

fn client(r: Request, entries: &mut Entries) {
    // SAFETY: a request has its connection, which has the peer's address.
    let (address, port) = unsafe {
        let c = r.connection();
        (bytes(&(*c).addr_text), ngx_inet_get_port((*c).sockaddr))
    };
    entries.set("REMOTE_ADDR", address);
    entries.set("REMOTE_PORT", port.to_string());
    if basic_auth_applies(r) {
        // SAFETY: lives as long as the request.
        let user = unsafe { bytes(&r.get().headers_in.user) };
        if !user.is_empty() {
            entries.set("REMOTE_USER", user);
            entries.set("AUTH_TYPE", "Basic");
        }
    }
}

/// Whether nginx's auth_basic has checked the password of this request. With `satisfy any` another
/// check may have let it in, so the name proves nothing.
fn basic_auth_applies(r: Request) -> bool {
    // Subrequests pass no access check.
    if !r.is_main() || r.core_location().satisfy == NGX_HTTP_SATISFY_ANY as usize {
        return false;
    }
    let Some(index) = basic_auth_index() else { return false };
    // SAFETY: the module's location configuration begins with its realm (nginx:
    // http/modules/ngx_http_auth_basic_module.c), null or unset where auth_basic is not configured.
    unsafe {
        let conf = (*r.get().loc_conf.add(index)).cast::<*mut ngx_http_complex_value_t>();
        if conf.is_null() || (*conf).is_null() || *conf as usize == usize::MAX {
            return false;
        }
        let mut realm = ngx_str_t { len: 0, data: std::ptr::null_mut() };
        ngx_http_complex_value(r.as_ptr(), *conf, &mut realm) == code::OK && bytes(&realm) != b"off"
    }
}

/// nginx may be built without the module, so it is looked up by name.
fn basic_auth_index() -> Option<usize> {
    // SAFETY: the running cycle's modules are a null-terminated array that does not change.
    unsafe {
        let mut module = (*nginx_sys::ngx_cycle).modules;
        while !(*module).is_null() {
            let name = std::ffi::CStr::from_ptr((**module).name);
            if name == c"ngx_http_auth_basic_module" {
                return Some((**module).ctx_index);
            }
            module = module.add(1);
        }
    }
    None
}

fn headers(r: Request, target: &Target, entries: &mut Entries) {
    let mut seen: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    for (name, value) in r.headers() {
        let Some(key) = header_name(name, target.pass_authorization) else { continue };
        match seen.iter_mut().find(|(known, _)| *known == key) {
            Some((_, joined)) => {
                joined.extend_from_slice(if key == b"HTTP_COOKIE" { b"; " } else { b", " });
                joined.extend_from_slice(value);
            }
            None => seen.push((key, value.to_vec())),
        }
    }
    // HTTP/3 may name the host in :authority alone.
    if !seen.iter().any(|(name, _)| name == b"HTTP_HOST") {
        // SAFETY: lives as long as the request.
        let host = unsafe { bytes(&r.get().headers_in.server) };
        if !host.is_empty() {
            seen.push((b"HTTP_HOST".to_vec(), host.to_vec()));
        }
    }
    entries.0.append(&mut seen);
}

/// The environ key of a request header; `None` for one that is not passed on (semantics c.3).
fn header_name(name: &[u8], pass_authorization: bool) -> Option<Vec<u8>> {
    if name.is_empty() || !name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-') {
        return None;
    }
    let upper: Vec<u8> = name
        .iter()
        .map(|byte| if *byte == b'-' { b'_' } else { byte.to_ascii_uppercase() })
        .collect();
    match &*upper {
        b"CONTENT_TYPE" | b"CONTENT_LENGTH" => Some(upper),
        b"PROXY" | b"PROXY_AUTHORIZATION" => None,
        b"AUTHORIZATION" if !pass_authorization => None,
        _ => Some([b"HTTP_", &*upper].concat()),
    }
}

fn params(r: Request, conf: &LocationConf, entries: &mut Entries) {
    // The last one of a name counts, and what the server knows itself counts more.
    for param in conf.params.iter().rev() {
        let value = param.value.evaluate(r).unwrap_or_default();
        if !(param.if_not_empty && value.is_empty()) {
            entries.set_default(param.name.as_bytes(), value);
        }
    }
}
