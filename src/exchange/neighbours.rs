//! What the environ takes from other modules of this nginx, looked up once for a configuration.

use std::cell::{Cell, RefCell};
use std::ffi::CStr;

use nginx_sys::{
    ngx_cycle_t, ngx_http_complex_value, ngx_http_complex_value_t, ngx_str_t, NGX_HTTP_SATISFY_ANY,
};
use ngx_wsgi_host::clock::now_us;

use super::header_names::HeaderNames;
use super::request_id::RequestIds;
use super::tls::Tls;
use crate::ffi::{bytes, code, pid, random, Conf, ConfigError, Neighbour, Request, Variable};

/// Filters that change the content of a response: the module, and which words at the start of its
/// location configuration say that it is on (nginx: http/modules/ngx_http_*_filter_module.c; brotli:
/// filter/ngx_http_brotli_filter_module.c).
const FILTERS: [(&CStr, &[usize]); 7] = [
    (c"ngx_http_gzip_filter_module", &[0]),
    (c"ngx_http_gunzip_filter_module", &[0]),
    (c"ngx_http_brotli_filter_module", &[0]),
    (c"ngx_http_ssi_filter_module", &[0]),
    (c"ngx_http_image_filter_module", &[0]),
    // A flag, then the list of pairs.
    (c"ngx_http_sub_filter_module", &[1]),
    // Two strings, each with its length first.
    (c"ngx_http_addition_filter_module", &[0, 2]),
];

/// The start of a filter's configuration.
type FilterStart = [usize; 3];

/// Other modules, as far as this nginx has them.
pub struct Neighbours {
    document_root: Variable,
    /// The names of headers that have come so far.
    pub header_names: RefCell<HeaderNames>,
    /// Ours, which a request keeps on its way through nginx.
    pub request_id: Variable,
    /// nginx's, if the configuration refers to it: in a log format, for one.
    nginxs_request_id: Option<Variable>,
    /// The module that replaces the client's address, and the variable with the connection's port.
    realip: Option<(Neighbour<()>, Variable)>,
    pub tls: Option<Tls>,
    /// Conditions with which the cache asks whether an expired entry is still good: key and value.
    conditions: Vec<(&'static str, Variable)>,
    basic_auth: Option<Neighbour<[*mut ngx_http_complex_value_t; 2]>>,
    filters: Vec<(Neighbour<FilterStart>, &'static [usize])>,
}

impl Neighbours {
    /// Looks around while the configuration is read.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] without memory, logged.
    pub fn find(cf: Conf) -> Result<Self, ConfigError> {
        // SAFETY: nothing is read of its configuration.
        let realip = unsafe { Neighbour::find(cf, c"ngx_http_realip_module") };
        let with_port = |module| Ok((module, Variable::find(cf, "realip_remote_port")?));
        let filters = FILTERS.iter().filter_map(|(module, words)| {
            // SAFETY: each of these configurations is at least three words long, of which the first
            // are a flag, a number, a pointer or a string's length as the table has it.
            Some((unsafe { Neighbour::find(cf, module) }?, *words))
        });
        Ok(Neighbours {
            document_root: Variable::find(cf, "document_root")?,
            request_id: Variable::find(cf, super::variables::REQUEST_ID)?,
            header_names: RefCell::default(),
            nginxs_request_id: None,
            realip: realip.map(with_port).transpose()?,
            tls: Tls::find(cf)?,
            conditions: conditions(cf)?,
            // SAFETY: the configuration begins with the realm and the file of the users, null or unset
            // where they are not configured (nginx: http/modules/ngx_http_auth_basic_module.c).
            basic_auth: unsafe { Neighbour::find(cf, c"ngx_http_auth_basic_module") },
            filters: filters.collect(),
        })
    }

    /// Looks around once more when all of the configuration has been read.
    pub fn look_again(&mut self, cycle: &ngx_cycle_t) {
        self.nginxs_request_id = Variable::referred_to(cycle, "request_id");
    }

    /// What the location's files are in.
    pub fn document_root<'a>(&self, r: Request) -> &'a [u8] {
        let location = r.core_location();
        if location.root_lengths.is_null() {
            // SAFETY: without variables the root is a string of the configuration.
            return unsafe { bytes(&location.root) };
        }
        self.document_root.get(r).unwrap_or_default()
    }

    /// The port of the connection, where realip has replaced the client's address.
    pub fn replaced_port<'a>(&self, r: Request) -> Option<&'a [u8]> {
        let (module, port) = self.realip.as_ref()?;
        // The module finds what it has noted where an internal redirect has taken it away.
        let replaced = module.has_context(r) || r.internal() || r.get().filter_finalize() != 0;
        replaced.then(|| port.get(r)).flatten().filter(|port| !port.is_empty())
    }

    /// Passes on an id for a request that has none: `$request_id`, or where nobody compares with that,
    /// one that is made at less cost. It has 32 hexadecimal digits either way.
    pub fn new_request_id<T>(&self, r: Request, take: impl FnOnce(&[u8]) -> T) -> T {
        match self.nginxs_request_id.and_then(|variable| variable.get(r)) {
            Some(id) => take(id),
            None => take(&next_id()),
        }
    }

    /// Passes the conditions to `set` that hold for this request (`wsgi_cache_revalidate`).
    pub fn revalidate(&self, r: Request, mut set: impl FnMut(&str, &[u8])) {
        for (key, variable) in &self.conditions {
            if let Some(value) = variable.get(r).filter(|value| !value.is_empty()) {
                set(key, value);
            }
        }
    }

    /// The user whose password nginx's auth_basic has checked for this request. The name in the
    /// header proves nothing by itself; nor with `satisfy any`, where another check may have let the
    /// request in, nor in a subrequest, which passes no check.
    pub fn authenticated_user<'a>(&self, r: Request) -> Option<&'a [u8]> {
        if !r.is_main() || r.core_location().satisfy == NGX_HTTP_SATISFY_ANY as usize {
            return None;
        }
        let settings = self.basic_auth.as_ref()?.settings(r)?;
        // Without either nginx checks nothing.
        if settings.iter().any(|it| it.is_null() || *it as usize == usize::MAX) {
            return None;
        }
        let [realm, _] = *settings;
        let mut value = ngx_str_t { len: 0, data: std::ptr::null_mut() };
        // SAFETY: a realm that is set is a compiled value, which lives as long as the cycle; result
        // and user live as long as the request.
        unsafe {
            if ngx_http_complex_value(r.as_ptr(), realm, &mut value) != code::OK
                || bytes(&value) == b"off"
            {
                return None;
            }
            Some(bytes(&r.get().headers_in.user)).filter(|user| !user.is_empty())
        }
    }

    /// Whether a filter that changes the content of responses is on in the request's location.
    pub fn changes_content(&self, r: Request) -> bool {
        self.filters.iter().any(|(filter, words)| {
            filter.settings(r).is_some_and(|start| words.iter().any(|word| start[*word] != 0))
        })
    }
}

thread_local! {
    /// Begun in the worker, not in the master that has forked it.
    static REQUEST_IDS: Cell<Option<RequestIds>> = const { Cell::new(None) };
}

fn next_id() -> [u8; 32] {
    let mut ids = REQUEST_IDS.get().unwrap_or_else(|| {
        // Different for each worker even where the kernel has no random numbers to give.
        let [one, other] = random();
        RequestIds::from_seed([one ^ now_us(), other ^ u64::from(pid())])
    });
    let id = ids.next();
    REQUEST_IDS.set(Some(ids));
    id
}

/// nginx knows these variables when it has its cache; they are empty but where an entry is
/// revalidated.
fn conditions(cf: Conf) -> Result<Vec<(&'static str, Variable)>, ConfigError> {
    if !cfg!(ngx_feature = "http_cache") {
        return Ok(Vec::new());
    }
    Ok(vec![
        ("HTTP_IF_MODIFIED_SINCE", Variable::find(cf, "upstream_cache_last_modified")?),
        ("HTTP_IF_NONE_MATCH", Variable::find(cf, "upstream_cache_etag")?),
    ])
}
