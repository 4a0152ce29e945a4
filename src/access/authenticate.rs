//! Basic and Digest authentication, and who of the users is let in.

use std::sync::atomic::Ordering;

use nginx_sys::{
    ngx_http_auth_basic_user, ngx_int_t, ngx_list_push, ngx_table_elt_t, NGX_HTTP_BAD_REQUEST,
    NGX_HTTP_GATEWAY_TIME_OUT, NGX_HTTP_UNAUTHORIZED,
};
use ngx::ngx_log_error;
use ngx_wsgi_host::wire::hook;

use super::digest::{Algorithm, Credentials};
use super::settings::{AccessConf, AuthType, Requirement, UserScript};
use super::state::{Asked, Identity, State};
use super::{conf_of, main_of, Shared, SERVER_ERROR};
use crate::ffi::{bytes, code, pool_copy, str_of, text, Request};
use crate::hook::Answer;

/// Why a request does not get on.
enum Refusal {
    /// A hook is being asked.
    Pending,
    /// nginx ends the request with this status; why was logged.
    Status(ngx_int_t),
    /// The client has to say who it is.
    Challenge(Challenge),
}

/// What a client is asked for.
#[derive(Clone, Copy, Default)]
struct Challenge {
    /// Its credentials may have been right, its nonce was not.
    stale: bool,
    /// The only hash that helps; otherwise the one that has helped last.
    algorithm: Option<Algorithm>,
}

const UNPROVEN: Refusal = Refusal::Challenge(Challenge { stale: false, algorithm: None });
const STALE: Refusal = Refusal::Challenge(Challenge { stale: true, algorithm: None });

/// One request in the phase.
struct Authentication<'a> {
    r: Request,
    conf: &'a AccessConf,
    state: &'a mut State,
    script: &'a UserScript,
    realm: Vec<u8>,
}

/// Authenticates a request where that is configured, as nginx's phases want to be told.
pub fn handle(r: Request) -> ngx_int_t {
    let conf = conf_of(r);
    if let Some(missing) = conf.missing() {
        return misconfigured(r, &format!("\"{missing}\" is not set"));
    }
    let (true, Some(script), Some(name)) =
        (conf.authenticates(), conf.user_script.as_deref(), conf.auth_name)
    else {
        return code::DECLINED;
    };
    let (Some(realm), Some(state)) = (name.evaluate(r), State::enter(r)) else {
        return SERVER_ERROR;
    };
    // A variable may hold anything.
    let realm: Vec<u8> = realm.iter().copied().filter(|byte| !byte.is_ascii_control()).collect();
    let mut authentication = Authentication { r, conf, state, script, realm };
    let rc = authentication.run();
    if rc != code::AGAIN {
        authentication.state.proven = None;
    }
    rc
}

fn misconfigured(r: Request, cause: &str) -> ngx_int_t {
    ngx_log_error!(nginx_sys::NGX_LOG_ERR, r.log(), "the client cannot be authenticated: {cause}");
    SERVER_ERROR
}

impl Authentication<'_> {
    fn run(&mut self) -> ngx_int_t {
        if self.state.proven.is_none() {
            let proven = match self.conf.auth_type {
                Some(AuthType::Digest) => self.digest(),
                _ => self.basic(),
            };
            match proven {
                Ok(identity) => self.state.proven = Some(identity),
                Err(refusal) => return self.refuse(refusal),
            }
        }
        match self.authorize() {
            Ok(()) => {
                self.state.identity = self.state.proven.take();
                if let Some(variable) = main_of(self.r).access.remote_user {
                    variable.forget(self.r);
                }
                code::OK
            }
            Err(refusal) => self.refuse(refusal),
        }
    }

    fn refuse(&mut self, refusal: Refusal) -> ngx_int_t {
        match refusal {
            Refusal::Pending => code::AGAIN,
            Refusal::Status(status) => status,
            Refusal::Challenge(challenge) => {
                self.state.identity = None;
                self.challenge(challenge).unwrap_or(SERVER_ERROR)
            }
        }
    }

    fn log(&self, cause: std::fmt::Arguments<'_>) {
        ngx_log_error!(nginx_sys::NGX_LOG_ERR, self.r.log(), "{cause}");
    }

    /// Asks a hook for something without which there is no answer but an error.
    fn ask(&mut self, function: &str, arguments: &[(&str, &[u8])]) -> Result<Answer, Refusal> {
        match self.state.ask(self.r, &self.script.hook, function, arguments) {
            Asked::Pending => Err(Refusal::Pending),
            Asked::Answered(answer) => Ok(answer),
            Asked::Failed => Err(Refusal::Status(SERVER_ERROR)),
            Asked::TimedOut => Err(Refusal::Status(NGX_HTTP_GATEWAY_TIME_OUT as ngx_int_t)),
        }
    }

    /// Refuses what no user is called (RFC 7617, section 2), and what would make lines of its own in
    /// a log.
    fn check_name(&self, user: &[u8]) -> Result<(), Refusal> {
        if user.iter().any(u8::is_ascii_control) {
            self.log(format_args!("credentials with control characters in the user's name"));
            return Err(UNPROVEN);
        }
        Ok(())
    }

    fn basic(&mut self) -> Result<Identity, Refusal> {
        // SAFETY: a live request; user and password live as long as it.
        let (user, password) = unsafe {
            match ngx_http_auth_basic_user(self.r.as_ptr()) {
                code::OK => {}
                code::DECLINED => return Err(UNPROVEN),
                _ => return Err(Refusal::Status(SERVER_ERROR)),
            }
            let headers = &self.r.get().headers_in;
            (bytes(&headers.user), bytes(&headers.passwd))
        };
        self.check_name(user)?;
        let arguments: [(_, &[u8]); 2] = [(hook::USER, user), (hook::PASSWORD, password)];
        let answer = self.ask(hook::CHECK_PASSWORD, &arguments)?;
        match answer.verdict {
            hook::YES => {
                let name = answer.into_value().unwrap_or_else(|| user.to_vec());
                Ok(Identity { user: name, auth_type: "Basic" })
            }
            hook::UNKNOWN => {
                self.log(format_args!("user \"{}\" was not found", text(user)));
                Err(UNPROVEN)
            }
            _ => {
                self.log(format_args!("user \"{}\": password mismatch", text(user)));
                Err(UNPROVEN)
            }
        }
    }

    fn shared<'a>(&self) -> Result<&'a Shared, Refusal> {
        main_of(self.r)
            .access
            .shared
            .as_ref()
            .ok_or_else(|| Refusal::Status(misconfigured(self.r, "no memory for nonces")))
    }

    fn digest(&mut self) -> Result<Identity, Refusal> {
        let credentials = self.credentials()?;
        self.check_name(&credentials.user)?;
        let nonces = &self.shared()?.nonces;
        let lifetime = self.conf.nonce_lifetime();
        let nonce = nonces.check(&credentials.nonce, now(), lifetime).map_err(|_| STALE)?;
        if credentials.realm != self.realm {
            return Err(UNPROVEN);
        }
        if credentials.opaque.as_ref().is_some_and(|opaque| *opaque != nonces.opaque()) {
            return Err(UNPROVEN);
        }
        // SAFETY: lives as long as the request.
        if !credentials.are_for(unsafe { bytes(&self.r.get().unparsed_uri) }) {
            let uri = text(&credentials.uri);
            self.log(format_args!("credentials are for another URI than the request: \"{uri}\""));
            return Err(Refusal::Status(NGX_HTTP_BAD_REQUEST as ngx_int_t));
        }
        let hash = self.realm_hash(&credentials)?;
        if !credentials.proves(&hash, self.method()) {
            let user = text(&credentials.user);
            self.log(format_args!("user \"{user}\": password mismatch"));
            return Err(UNPROVEN);
        }
        if !self.state.counted && !nonces.count(nonce, credentials.count) {
            let (user, count) = (text(&credentials.user), credentials.count);
            self.log(format_args!("user \"{user}\": nonce count {count} was used before"));
            return Err(STALE);
        }
        self.state.counted = true;
        Ok(Identity { user: credentials.user, auth_type: "Digest" })
    }

    fn credentials(&self) -> Result<Credentials, Refusal> {
        // SAFETY: null, or a header of the live request.
        let header = unsafe { self.r.get().headers_in.authorization.as_ref() };
        // SAFETY: as above.
        let value = header.map(|header| unsafe { bytes(&header.value) }).ok_or(UNPROVEN)?;
        Credentials::parse(value).ok_or_else(|| {
            self.log(format_args!("credentials are of another scheme, or incomplete"));
            UNPROVEN
        })
    }

    /// What the script knows of the user's password, in the hash that the client has used.
    fn realm_hash(&mut self, credentials: &Credentials) -> Result<Vec<u8>, Refusal> {
        let realm = self.realm.clone();
        let arguments: [(_, &[u8]); 2] = [(hook::USER, &credentials.user), (hook::REALM, &realm)];
        let answer = self.ask(hook::GET_REALM_HASH, &arguments)?;
        let hash = match (answer.verdict, answer.into_value()) {
            (hook::YES, Some(hash)) => hash,
            _ => {
                self.log(format_args!("user \"{}\" was not found", text(&credentials.user)));
                return Err(UNPROVEN);
            }
        };
        let algorithm = Algorithm::of_hash(&hash);
        if let Some(known) = self.shared()?.sha256.get(self.script.number) {
            known.store(u8::from(algorithm == Some(Algorithm::Sha256)), Ordering::Relaxed);
        }
        if algorithm != Some(credentials.algorithm) {
            // Nothing is wrong with the password yet: the client is to try the other hash.
            return Err(Refusal::Challenge(Challenge { stale: true, algorithm }));
        }
        Ok(hash)
    }

    /// The method that the client has used; an error page is fetched with GET.
    fn method<'a>(&self) -> &'a [u8] {
        // SAFETY: both live as long as the request.
        let (line, method) = unsafe {
            let request = self.r.get();
            (bytes(&request.request_line), bytes(&request.method_name))
        };
        line.split(|byte| *byte == b' ').next().filter(|word| !word.is_empty()).unwrap_or(method)
    }

    /// Whether the user meets one of the requirements.
    fn authorize(&mut self) -> Result<(), Refusal> {
        let Some(user) = self.state.proven.as_ref().map(|identity| identity.user.clone()) else {
            return Err(UNPROVEN);
        };
        let requirements = &self.conf.require;
        let admits = |requirement: &Requirement| match requirement {
            Requirement::ValidUser => true,
            Requirement::Users(names) => names.iter().any(|name| name.as_bytes() == user),
            Requirement::Groups(_) => false,
        };
        if requirements.is_empty() || requirements.iter().any(admits) {
            return Ok(());
        }
        let wanted = requirements.iter().filter_map(|requirement| match requirement {
            Requirement::Groups(names) => Some(names),
            _ => None,
        });
        let wanted: Vec<&str> = wanted.flatten().map(String::as_str).collect();
        if !wanted.is_empty() && self.is_member(&user, &wanted)? {
            return Ok(());
        }
        let user = text(&user);
        self.log(format_args!("user \"{user}\" meets no \"wsgi_require\""));
        Err(UNPROVEN)
    }

    /// Whether the user is in one of the groups, as the group script says.
    fn is_member(&mut self, user: &[u8], wanted: &[&str]) -> Result<bool, Refusal> {
        let Some(script) = self.conf.group_script.as_deref() else { return Ok(false) };
        let arguments = [(hook::USER, user)];
        match self.state.ask(self.r, script, hook::GROUPS_FOR_USER, &arguments) {
            Asked::Pending => Err(Refusal::Pending),
            Asked::TimedOut => Err(Refusal::Status(NGX_HTTP_GATEWAY_TIME_OUT as ngx_int_t)),
            Asked::Failed => Err(UNPROVEN),
            Asked::Answered(answer) => {
                let is_wanted = |(_, group): &(Vec<u8>, Vec<u8>)| {
                    wanted.iter().any(|name| name.as_bytes().eq_ignore_ascii_case(group))
                };
                Ok(answer.values.iter().any(is_wanted))
            }
        }
    }

    /// Puts the challenge into the response header.
    fn challenge(&mut self, challenge: Challenge) -> Option<ngx_int_t> {
        let mut value = match self.conf.auth_type {
            Some(AuthType::Digest) => b"Digest realm=\"".to_vec(),
            _ => b"Basic realm=\"".to_vec(),
        };
        for byte in &self.realm {
            if matches!(byte, b'"' | b'\\') {
                value.push(b'\\');
            }
            value.push(*byte);
        }
        value.push(b'"');
        if self.conf.auth_type == Some(AuthType::Digest) {
            let shared = self.shared().ok()?;
            let known = shared.sha256.get(self.script.number);
            let sha256 = known.is_some_and(|known| known.load(Ordering::Relaxed) == 1);
            let usual = if sha256 { Algorithm::Sha256 } else { Algorithm::Md5 };
            let algorithm = challenge.algorithm.unwrap_or(usual).name();
            let nonce = shared.nonces.make(now());
            let (nonce, opaque) = (text(&nonce), shared.nonces.opaque());
            let opaque = text(&opaque);
            let parameters = format!(
                ", qop=\"auth\", algorithm={algorithm}, nonce=\"{nonce}\", opaque=\"{opaque}\""
            );
            value.extend_from_slice(parameters.as_bytes());
            if challenge.stale {
                value.extend_from_slice(b", stale=true");
            }
        }
        self.set_challenge(&value)?;
        Some(NGX_HTTP_UNAUTHORIZED as ngx_int_t)
    }

    fn set_challenge(&mut self, value: &[u8]) -> Option<()> {
        // SAFETY: a live request; the header is a fresh element of its list, or the one that an
        // earlier pass through this phase has made.
        unsafe {
            let request = &mut *self.r.as_ptr();
            let value = pool_copy(request.pool, value)?;
            let header = match self.state.challenge {
                Some(header) => header.as_ptr(),
                None => {
                    let header: *mut ngx_table_elt_t =
                        ngx_list_push(&mut request.headers_out.headers).cast();
                    self.state.challenge = Some(std::ptr::NonNull::new(header)?);
                    *header = std::mem::zeroed();
                    header
                }
            };
            (*header).hash = 1;
            (*header).key = str_of(b"WWW-Authenticate");
            (*header).value = value;
            request.headers_out.www_authenticate = header;
        }
        Some(())
    }
}

/// Seconds of a clock that all workers have and nobody sets.
fn now() -> u64 {
    // SAFETY: the event thread's clock.
    unsafe { nginx_sys::ngx_current_msec as u64 / 1000 }
}
