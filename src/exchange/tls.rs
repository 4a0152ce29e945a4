//! What mod_ssl tells an application of its connection (`SSLOptions +StdEnvVars`), as far as nginx
//! knows it.

mod format;

use crate::ffi::{has_module, Conf, ConfigError, Request, Variable};

/// nginx's variable, the key, and how the value is written.
type Fact = (&'static str, &'static str, fn(&[u8]) -> Vec<u8>);

/// Every TLS connection has these.
const CONNECTION: [Fact; 5] = [
    ("ssl_protocol", "SSL_PROTOCOL", <[u8]>::to_vec),
    ("ssl_session_id", "SSL_SESSION_ID", <[u8]>::to_vec),
    ("ssl_session_reused", "SSL_SESSION_RESUMED", resumption),
    ("ssl_server_name", "SSL_TLS_SNI", <[u8]>::to_vec),
    ("ssl_cipher", CIPHER, <[u8]>::to_vec),
];

/// Those whose client has shown a certificate have these. Each costs a look into the certificate.
const CERTIFICATE: [Fact; 6] = [
    ("ssl_client_serial", "SSL_CLIENT_M_SERIAL", <[u8]>::to_vec),
    ("ssl_client_v_start", "SSL_CLIENT_V_START", <[u8]>::to_vec),
    ("ssl_client_v_end", "SSL_CLIENT_V_END", <[u8]>::to_vec),
    ("ssl_client_v_remain", "SSL_CLIENT_V_REMAIN", <[u8]>::to_vec),
    ("ssl_client_s_dn", "SSL_CLIENT_S_DN", format::name),
    ("ssl_client_i_dn", "SSL_CLIENT_I_DN", format::name),
];

const CIPHER: &str = "SSL_CIPHER";

/// nginx writes `r` or a dot.
fn resumption(value: &[u8]) -> Vec<u8> {
    if value == b"r" { b"Resumed" } else { b"Initial" }.to_vec()
}

/// The variables behind the facts.
pub struct Tls {
    connection: [Variable; CONNECTION.len()],
    verify: Variable,
    certificate: [Variable; CERTIFICATE.len()],
}

impl Tls {
    /// Looks the variables up; `None` when this nginx has no TLS.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] without memory, logged.
    pub fn find(cf: Conf) -> Result<Option<Self>, ConfigError> {
        if !has_module(cf, c"ngx_http_ssl_module") {
            return Ok(None);
        }
        Ok(Some(Tls {
            connection: find_all(cf, &CONNECTION)?,
            verify: Variable::find(cf, "ssl_client_verify")?,
            certificate: find_all(cf, &CERTIFICATE)?,
        }))
    }

    /// Passes the facts of a TLS request to `set`.
    pub fn tell(&self, r: Request, mut set: impl FnMut(&str, Vec<u8>)) {
        tell_all(r, &CONNECTION, &self.connection, |key, value, raw| {
            set(key, value);
            if key == CIPHER {
                cipher(raw, &mut set);
            }
        });
        let verify = self.verify.get(r).unwrap_or(b"NONE");
        set("SSL_CLIENT_VERIFY", verify.to_vec());
        if verify == b"NONE" {
            return;
        }
        tell_all(r, &CERTIFICATE, &self.certificate, |key, value, raw| {
            set(key, value);
            if key.ends_with("_DN") {
                for (part, value) in format::parts(raw) {
                    set(&format!("{key}_{part}"), value);
                }
            }
        });
    }
}

fn find_all<const N: usize>(cf: Conf, facts: &[Fact; N]) -> Result<[Variable; N], ConfigError> {
    let mut found = Vec::with_capacity(N);
    for (variable, ..) in facts {
        found.push(Variable::find(cf, variable)?);
    }
    found.try_into().map_err(|_| ConfigError)
}

/// Values that are empty are not told.
fn tell_all<const N: usize>(
    r: Request,
    facts: &[Fact; N],
    variables: &[Variable; N],
    mut tell: impl FnMut(&str, Vec<u8>, &[u8]),
) {
    for ((_, key, written), variable) in facts.iter().zip(variables) {
        if let Some(raw) = variable.get(r).filter(|raw| !raw.is_empty()) {
            tell(key, written(raw), raw);
        }
    }
}

/// nginx has no variables for these: the sizes follow from the cipher's name. Export ciphers are
/// gone from every OpenSSL that nginx can be built with, and nginx never compresses.
fn cipher(name: &[u8], set: &mut impl FnMut(&str, Vec<u8>)) {
    set("SSL_COMPRESS_METHOD", b"NULL".to_vec());
    if let Some((used, of_algorithm)) = format::key_bits(name) {
        set("SSL_CIPHER_EXPORT", b"false".to_vec());
        set("SSL_CIPHER_USEKEYSIZE", used.into());
        set("SSL_CIPHER_ALGKEYSIZE", of_algorithm.into());
    }
}
