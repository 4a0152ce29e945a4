//! One request's way to a host process and back.

mod body;
#[cfg(ngx_feature = "http_cache")]
mod cache;
#[cfg(not(ngx_feature = "http_cache"))]
#[path = "exchange/uncached.rs"]
mod cache;
mod connection;
mod decimal;
mod dispatch_script;
mod entries;
mod environ;
mod frames;
mod handler;
mod header_names;
mod inline;
mod names;
mod neighbours;
mod proxies;
mod request;
mod request_id;
mod response;
mod slow;
mod target;
mod tls;
mod variables;

use std::os::fd::OwnedFd;
use std::ptr::NonNull;

use nginx_sys::ngx_chain_t;
use ngx_wsgi_host::scoreboard::Lease;
use ngx_wsgi_host::wire::Outcome;

use crate::dispatch::{Dispatcher, Parked, Place, Slot};
use crate::ffi::{now_msec, text, Locations, Request, Timer};
use crate::route::{Lasting, Route};

pub use cache::serves_stale;
pub use environ::encode_for_hook;
pub use frames::{FrameReader, Piece};
pub use handler::{content_handler, next_id};
pub use names::evaluate as evaluate_name;
pub use neighbours::Neighbours;
pub use proxies::{Network, ProxyHeader};
pub use variables::{define_variables, Clock};

/// What this module knows of a request from its mapping to its end. Lives in the request's pool.
pub struct Exchange {
    pub request: Request,
    dispatcher: NonNull<Dispatcher>,
    pub place: Place,
    /// Unique in the generation; another one each time that it is sent.
    pub id: u64,
    start_us: u64,
    queue_us: u64,
    target: Target,

    /// The slot that the request has.
    pub lease: Option<Lease>,
    /// Its connection's place in the memory that is shared with the host.
    pub slot: Option<Slot>,
    /// Its place in the waiting line.
    pub ticket: Option<i64>,
    pub clock: Clock,
    /// Since when it waits for a process, on nginx's clock in milliseconds.
    pub waits_since: Option<usize>,
    pub timer: Timer,
    /// It waits inside nginx's upstream code.
    pub parked: Option<NonNull<Parked>>,
    /// The process it was sent to last.
    pub process: usize,
    pub attempts: u32,
    /// Processes whose application has seen it, and that it was taken away from.
    pub passed_on: u32,
    /// What is wrong with the answer, as nginx's bits; 0 as long as there is none.
    pub failure: u32,
    /// The response to this HEAD request is its header alone.
    head_only: bool,
    /// The process said that another one is to run it.
    pub rejected: bool,

    /// What is sent of the request before its body.
    frame: Vec<u8>,
    frames: FrameReader,
    /// One that has come from the host and no frame has announced yet.
    descriptor: Option<OwnedFd>,
    /// The body of the response.
    file: Option<response::PassedFile>,
    /// The file with the request's body.
    upload: Option<OwnedFd>,
    /// It has not been sent to the process.
    upload_waits: bool,
    /// What the response's Content-Length leaves to come.
    rest: Option<u64>,
    /// The response has no body, whatever the host sends (204, 304).
    bodyless: bool,
    head_seen: bool,
    /// The host has lent the body.
    lent: bool,
    /// What stands aside while nginx's error page replaces the response.
    overridden: Option<Locations>,
    /// The process takes no further request on this connection.
    going_away: bool,
    /// How the host has ended the exchange.
    pub outcome: Option<Outcome>,
    body_out: body::FramedBody,
}

/// Where the request goes: what mod_wsgi calls its effective configuration.
pub struct Target {
    pub route: Route,
    pub process_group: Lasting,
    pub application_group: Lasting,
    pub callable: Lasting,
    pub pass_authorization: bool,
    pub reloading: bool,
    /// The chroot of the group; the route's script is the path inside.
    pub jail: Option<Vec<u8>>,
}

impl Exchange {
    /// The exchange of a request, when it has one and is not redirected away from it.
    pub fn of<'a>(r: Request) -> Option<&'a mut Exchange> {
        // SAFETY: the context of this module is null or an exchange in the request's pool, used on
        // the event thread only. A caller that goes into nginx, which may call back for the same
        // exchange, does not use its reference afterwards.
        unsafe { r.context::<Exchange>(crate::module()).as_mut() }
    }

    /// The exchange that the request has or had last: an error page, for one, leads it away.
    fn latest_of<'a>(r: Request) -> Option<&'a Exchange> {
        // SAFETY: what is kept lives as long as the request's pool, on the event thread.
        let kept = || r.kept::<Exchange>().map(|it| unsafe { it.as_ref() });
        Exchange::of(r).map(|it| &*it).or_else(|| kept().find(|it| it.request == r))
    }

    /// This worker's dispatcher.
    pub fn dispatcher<'a>(&self) -> &'a Dispatcher {
        // SAFETY: owned by the cycle that the request belongs to.
        unsafe { self.dispatcher.as_ref() }
    }

    /// The process group's name for messages.
    pub fn group_name(&self) -> String {
        text(&self.target.process_group).into_owned()
    }

    /// Whether the host has answered anything.
    pub fn answered(&self) -> bool {
        self.head_seen || self.outcome.is_some()
    }

    /// Ready to be sent again.
    fn rewind(&mut self) {
        self.frames = FrameReader::default();
        self.descriptor = None;
        self.file = None;
        self.upload_waits = self.upload.is_some();
        self.rest = None;
        self.bodyless = false;
        self.head_seen = false;
        self.lent = false;
        self.clock.ended = None;
        self.restore_locations();
        self.going_away = false;
        self.outcome = None;
        self.rejected = false;
        self.failure = 0;
        self.body_out = body::FramedBody::default();
    }

    /// nginx looks for its error page now, or the request is sent again.
    fn restore_locations(&mut self) {
        if let Some(locations) = self.overridden.take() {
            locations.restore(self.request);
        }
    }

    /// The request ends, however it does.
    fn end(&mut self) {
        self.clock.ended.get_or_insert_with(now_msec);
        let dispatcher = self.dispatcher();
        dispatcher.dequeue(self);
        dispatcher.unpark(self);
        if let Some(lease) = self.lease.take() {
            dispatcher.release(self.place, lease);
        }
        slow::report(self);
    }
}

/// A chain that may be empty.
fn links(mut chain: *mut ngx_chain_t) -> impl Iterator<Item = *mut ngx_chain_t> {
    std::iter::from_fn(move || {
        let link = chain;
        if link.is_null() {
            return None;
        }
        // SAFETY: a valid chain; the next link is read before the caller sees this one.
        chain = unsafe { (*link).next };
        Some(link)
    })
}
