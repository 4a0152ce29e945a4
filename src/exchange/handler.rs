//! The content handler: checks, names, and the hand-over to nginx's upstream code.

use std::os::unix::ffi::OsStrExt;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use nginx_sys::{
    ngx_event_pipe_t, ngx_http_read_client_request_body, ngx_http_request_t,
    ngx_http_upstream_conf_t, ngx_http_upstream_create, ngx_int_t, ngx_pcalloc, NGX_HTTP_FORBIDDEN,
    NGX_HTTP_INTERNAL_SERVER_ERROR, NGX_HTTP_LENGTH_REQUIRED, NGX_HTTP_NOT_FOUND,
    NGX_HTTP_SPECIAL_RESPONSE,
};
use ngx::ngx_log_error;
use ngx_wsgi_host::clock::now_us;

use super::frames::FrameReader;
use super::{body, dispatch_script, inline, request, response, Clock, Exchange, Target};
use crate::conf::{GroupDefinition, LocationConf, MainConf};
use crate::dispatch::Place;
use crate::ffi::{code, guard, pid, str_of, text, Request, Timer};
use crate::route::{check_owner, jail, Foreign, NoScript, Route};

/// Why a request is not passed to an application (semantics a.8, h.2).
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error(transparent)]
    NoScript(#[from] NoScript),
    #[error("chunked request content is not allowed here, \"wsgi_chunked_request\" is off")]
    Chunked,
    #[error("\"wsgi_restrict_embedded\" is on, Embedded mode of mod_wsgi disabled by runtime configuration.")]
    Embedded,
    #[error("Embedded mode of mod_wsgi cannot be used by this WSGI application as not a member of allowed groups, see \"wsgi_restrict_process\"")]
    RestrictedEmbedded,
    #[error("Daemon process called \"{0}\" cannot be accessed by this WSGI application as not a member of allowed groups, see \"wsgi_restrict_process\"")]
    RestrictedGroup(String),
    #[error("The WSGI daemon process called \"{0}\" takes no requests, it has \"threads=0\"")]
    Service(String),
    #[error("No WSGI daemon process called \"{0}\" has been configured")]
    UnknownGroup(String),
    #[error("The WSGI daemon process called \"{0}\" cannot be accessed by this server")]
    ForeignGroup(String),
    #[error(transparent)]
    Foreign(#[from] Foreign),
    #[error("{what} {path} is outside the chroot {jail} of daemon process group \"{group}\"")]
    OutsideJail { what: &'static str, path: String, jail: String, group: String },
    #[error("no alias takes the request")]
    NoAlias,
    #[error("no memory for the request")]
    Memory,
}

impl Refusal {
    fn status(&self) -> u32 {
        match self {
            Refusal::NoScript(NoScript::Missing(_)) => NGX_HTTP_NOT_FOUND,
            Refusal::NoScript(NoScript::Memory) => NGX_HTTP_INTERNAL_SERVER_ERROR,
            Refusal::NoScript(_) | Refusal::Foreign(_) => NGX_HTTP_FORBIDDEN,
            Refusal::Chunked => NGX_HTTP_LENGTH_REQUIRED,
            _ => NGX_HTTP_INTERNAL_SERVER_ERROR,
        }
    }
}

/// What nginx calls when it has read a request's body.
type OnBody = unsafe extern "C" fn(*mut ngx_http_request_t);

/// nginx's content handler of a request that an alias has taken.
///
/// # Safety
///
/// Called by nginx.
pub unsafe extern "C" fn content_handler(r: *mut ngx_http_request_t) -> ngx_int_t {
    guard("the content handler", NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t, || {
        // SAFETY: as documented.
        let r = unsafe { Request::new(r) };
        match target(r) {
            Ok(target) => match &confs(r).0.dispatch_script {
                Some(Some(script)) => dispatch_script::ask(r, script, target),
                _ => pass(r, target),
            },
            // try_files has led to another URL since: that one is nginx's.
            Err(Refusal::NoAlias) => code::DECLINED,
            Err(refusal) => refuse(r, &refusal),
        }
    })
}

/// Passes a request on to where it goes. Returns what a content handler returns.
pub fn pass(r: Request, target: Target) -> ngx_int_t {
    match prepare(r, target) {
        Ok(on_body) => read_body(r, on_body),
        Err(refusal) => refuse(r, &refusal),
    }
}

fn refuse(r: Request, refusal: &Refusal) -> ngx_int_t {
    ngx_log_error!(nginx_sys::NGX_LOG_ERR, r.log(), "{refusal}");
    refusal.status() as ngx_int_t
}

/// This module's configurations of a request.
pub fn confs<'a>(r: Request) -> (&'a LocationConf, &'a MainConf) {
    let module = crate::module();
    // SAFETY: both live as long as the request's cycle, and nobody changes them.
    unsafe { (&*r.location_conf(module), &*r.main_conf(module)) }
}

/// Where a request goes as configured.
fn target(r: Request) -> Result<Target, Refusal> {
    let (conf, main) = confs(r);
    let mapped = crate::route::mapped(r, conf).ok_or(Refusal::NoAlias)?;
    let route = mapped.route(r)?;
    // A subrequest has the client's headers; its body, if any, was read before.
    if r.is_main() && r.chunked() && conf.chunked_request == 0 {
        return Err(Refusal::Chunked);
    }
    Ok(Target::configured(r, main, conf, mapped.options(), route))
}

/// Makes what the request goes its way with; returns what begins with its body.
fn prepare(r: Request, mut target: Target) -> Result<OnBody, Refusal> {
    let (conf, main) = confs(r);
    let place = place(r, main, conf, &target.process_group)?;
    let group = match place {
        Place::Daemon(index) => Some(&main.groups[index]),
        Place::Embedded => None,
    };
    if let Some(group) = group {
        apply_group(group, &mut target)?;
    }
    let generation = main.generation.as_ref().ok_or(Refusal::Memory)?;
    let dispatcher = NonNull::from(generation.dispatcher(main));
    let exchange = r.keep(exchange(r, dispatcher, place, target)).ok_or(Refusal::Memory)?;
    r.set_context(crate::module(), exchange.as_ptr());
    if !r.on_end(Some(on_end), exchange.as_ptr()) {
        return Err(Refusal::Memory);
    }
    let upstream = upstream_conf(r, group).ok_or(Refusal::Memory)?;
    if place == Place::Embedded && main.runs_inline() {
        inline::prepare(r, upstream).ok_or(Refusal::Memory)?;
        return Ok(inline::on_body);
    }
    make_upstream(r, upstream)?;
    #[cfg(ngx_feature = "http_cache")]
    // SAFETY: the upstream was made; the main configuration lives as long as the cycle.
    unsafe {
        let main = r.main_conf::<MainConf>(crate::module());
        (*r.upstream()).caches = std::ptr::addr_of_mut!((*main).caches);
        (*r.upstream()).create_key = Some(super::cache::create_key);
    }
    Ok(body_read)
}

/// What a group demands of a script, and how its processes see it.
fn apply_group(group: &GroupDefinition, target: &mut Target) -> Result<(), Refusal> {
    let Route { script, handled, .. } = &mut target.route;
    if let Some(owner) = group.script_owner() {
        check_owner(script, owner)?;
    }
    if let Some(jail) = &group.options.chroot {
        let jail = jail.as_os_str().as_bytes();
        let enter = |what, path: &[u8]| {
            let inside = jail::file(jail, path).ok_or_else(|| Refusal::OutsideJail {
                what,
                path: text(path).into_owned(),
                jail: text(jail).into_owned(),
                group: group.name.clone(),
            })?;
            Ok::<_, Refusal>(inside.to_vec())
        };
        *script = enter("WSGI script", script)?.into();
        if let Some(handled) = handled {
            handled.resource = enter("File to be handled", &handled.resource)?;
        }
        target.jail = Some(jail.to_vec());
    }
    Ok(())
}

/// The location's configuration, with the group's own timeout where it has one.
fn upstream_conf(
    r: Request,
    group: Option<&GroupDefinition>,
) -> Option<NonNull<ngx_http_upstream_conf_t>> {
    let conf = r.location_conf::<LocationConf>(crate::module());
    // SAFETY: the request's location has one.
    let upstream = NonNull::new(unsafe { std::ptr::addr_of_mut!((*conf).upstream) })?;
    let Some(seconds) = group.and_then(|group| group.options.socket_timeout) else {
        return Some(upstream);
    };
    let mut own = r.keep(confs(r).0.upstream)?;
    // SAFETY: a fresh copy in the request's pool that nobody else knows yet.
    let own_conf = unsafe { own.as_mut() };
    own_conf.read_timeout = seconds as usize * 1000;
    own_conf.send_timeout = seconds as usize * 1000;
    Some(own)
}

fn place(r: Request, main: &MainConf, conf: &LocationConf, group: &[u8]) -> Result<Place, Refusal> {
    let name = || text(group).into_owned();
    if !conf.allows(group) {
        return Err(match group {
            b"" => Refusal::RestrictedEmbedded,
            _ => Refusal::RestrictedGroup(name()),
        });
    }
    if group.is_empty() {
        let allowed = main.restrict_embedded != 1;
        return allowed.then_some(Place::Embedded).ok_or(Refusal::Embedded);
    }
    let index = main.group(group).ok_or_else(|| Refusal::UnknownGroup(name()))?;
    if !main.groups[index].is_visible_from(r.core_server()) {
        return Err(Refusal::ForeignGroup(name()));
    }
    if main.groups[index].is_service() {
        return Err(Refusal::Service(name()));
    }
    Ok(Place::Daemon(index))
}

fn exchange(
    r: Request,
    dispatcher: NonNull<crate::dispatch::Dispatcher>,
    place: Place,
    target: Target,
) -> Exchange {
    let request = r.get();
    let start_us = request.start_sec.max(0) as u64 * 1_000_000 + request.start_msec as u64 * 1000;
    Exchange {
        request: r,
        dispatcher,
        place,
        id: next_id(),
        start_us,
        queue_us: now_us(),
        target,
        lease: None,
        slot: None,
        ticket: None,
        clock: Clock::default(),
        waits_since: None,
        timer: Timer::default(),
        parked: None,
        process: 0,
        attempts: 0,
        passed_on: 0,
        failure: 0,
        head_only: false,
        rejected: false,
        frame: Vec::new(),
        frames: FrameReader::default(),
        descriptor: None,
        file: None,
        upload: None,
        upload_waits: false,
        rest: None,
        bodyless: false,
        head_seen: false,
        lent: false,
        overridden: None,
        going_away: false,
        outcome: None,
        body_out: body::FramedBody::default(),
    }
}

/// Unique among the workers of a generation: the worker's pid and a counter.
pub fn next_id() -> u64 {
    static COUNTER: AtomicU64 = AtomicU64::new(1);
    let count = COUNTER.fetch_add(1, Ordering::Relaxed) & 0xff_ffff_ffff;
    u64::from(pid()) << 40 | count
}

fn make_upstream(r: Request, conf: NonNull<ngx_http_upstream_conf_t>) -> Result<(), Refusal> {
    // SAFETY: a live request; the fields are those that nginx's own protocol modules set, and the
    // configuration lives as long as the cycle, or as the request.
    let conf = unsafe {
        let conf = conf.as_ptr();
        if ngx_http_upstream_create(r.as_ptr()) != code::OK {
            return Err(Refusal::Memory);
        }
        let u = &mut *r.upstream();
        u.schema = str_of(b"wsgi://");
        u.output.tag = std::ptr::from_ref(crate::module()).cast_mut().cast();
        u.conf = conf;
        u.create_request = Some(request::create_request);
        u.reinit_request = Some(request::reinit_request);
        u.process_header = Some(response::process_header);
        u.abort_request = Some(request::abort_request);
        u.finalize_request = Some(request::finalize_request);
        u.set_buffering((*conf).buffering as u32);
        u.pipe = ngx_pcalloc(r.pool(), size_of::<ngx_event_pipe_t>()).cast();
        if u.pipe.is_null() {
            return Err(Refusal::Memory);
        }
        (*u.pipe).input_filter = Some(response::pipe_filter);
        (*u.pipe).input_ctx = r.as_ptr().cast();
        u.input_filter_init = Some(response::filter_init);
        u.input_filter = Some(response::direct_filter);
        u.input_filter_ctx = r.as_ptr().cast();
        &*conf
    };
    if conf.request_buffering == 0 && conf.pass_request_body != 0 {
        r.set_request_body_no_buffering();
    }
    Ok(())
}

fn read_body(r: Request, on_body: OnBody) -> ngx_int_t {
    // SAFETY: a live request; the handler is called now or when the body has been read.
    let rc = unsafe { ngx_http_read_client_request_body(r.as_ptr(), Some(on_body)) };
    if rc >= NGX_HTTP_SPECIAL_RESPONSE as ngx_int_t {
        rc
    } else {
        code::DONE
    }
}

unsafe extern "C" fn body_read(r: *mut ngx_http_request_t) {
    guard("a request", (), || {
        // SAFETY: nginx calls back with the request.
        let r = unsafe { Request::new(r) };
        if let Some(dispatcher) = Exchange::of(r).map(|exchange| exchange.dispatcher()) {
            dispatcher.begin(r);
        }
    });
}

unsafe extern "C" fn on_end(data: *mut std::ffi::c_void) {
    guard("the end of a request", (), || {
        // SAFETY: the exchange lives in the request's pool, which goes after its cleanups.
        unsafe { (*data.cast::<Exchange>()).end() };
    });
}
