//! nginx variables that tell what has become of a request.

use nginx_sys::{ngx_http_request_t, ngx_http_variable_value_t, ngx_int_t};

use super::Exchange;
use crate::conf::MainConf;
use crate::ffi::{code, define_variable, guard, set_variable, Conf, ConfigError, Request};

type Getter = fn(&Exchange) -> Option<Vec<u8>>;

const VARIABLES: [(&str, Getter); 7] = [
    ("wsgi_script_name", |it| Some(it.target.route.script_name.to_vec())),
    ("wsgi_path_info", |it| Some(it.target.route.path_info.to_vec())),
    ("wsgi_process_group", |it| Some(it.target.process_group.to_vec())),
    ("wsgi_application_group", |it| Some(it.target.application_group.to_vec())),
    ("wsgi_pid", |it| it.clock.pid.map(|pid| pid.to_string().into_bytes())),
    ("wsgi_queue_time", |it| it.clock.queued().map(seconds)),
    ("wsgi_application_time", |it| it.clock.ran().map(seconds)),
];

/// The variable with what the application sees as `mod_wsgi.request_id`.
pub const REQUEST_ID: &str = "wsgi_request_id";

/// Where the time of a request goes, in milliseconds of the event thread's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock {
    /// It is to be run.
    pub begun: Option<usize>,
    /// It goes to a process, for the last time.
    pub sent: Option<usize>,
    /// It has been answered, or given up.
    pub ended: Option<usize>,
    /// The process that it was sent to last.
    pub pid: Option<u32>,
}

impl Clock {
    /// How long it has waited for a thread.
    pub fn queued(self) -> Option<usize> {
        Some(self.sent.unwrap_or_else(|| self.end()).wrapping_sub(self.begun?))
    }

    /// How long the application has had it.
    pub fn ran(self) -> Option<usize> {
        Some(self.end().wrapping_sub(self.sent?))
    }

    /// Its end, or now.
    fn end(self) -> usize {
        self.ended.unwrap_or_else(crate::ffi::now_msec)
    }
}

/// Seconds with milliseconds, as `$request_time` has them.
pub fn seconds(msec: usize) -> Vec<u8> {
    format!("{}.{:03}", msec / 1000, msec % 1000).into_bytes()
}

/// Defines the variables before the configuration is read.
///
/// # Errors
///
/// [`ConfigError`] without memory.
pub fn define_variables(cf: Conf) -> Result<(), ConfigError> {
    define_variable(cf, REQUEST_ID, Some(get_request_id), 0, true)?;
    let mut others = VARIABLES.iter().enumerate();
    others.try_for_each(|(index, (name, _))| define_variable(cf, name, Some(get), index, false))
}

unsafe extern "C" fn get(
    r: *mut ngx_http_request_t,
    v: *mut ngx_http_variable_value_t,
    index: usize,
) -> ngx_int_t {
    guard("a variable", code::ERROR, || {
        // SAFETY: nginx asks for a variable of a live request.
        let r = unsafe { Request::new(r) };
        let value = Exchange::latest_of(r).and_then(|exchange| VARIABLES[index].1(exchange));
        // SAFETY: nginx's arguments.
        unsafe { set_variable(r, v, value.as_deref()) }
    })
}

unsafe extern "C" fn get_request_id(
    r: *mut ngx_http_request_t,
    v: *mut ngx_http_variable_value_t,
    _: usize,
) -> ngx_int_t {
    guard("a variable", code::ERROR, || {
        // SAFETY: nginx asks for a variable of a live request, with nginx's arguments.
        unsafe {
            let r = Request::new(r);
            match &(*r.main_conf::<MainConf>(crate::module())).neighbours {
                Some(neighbours) => neighbours.new_request_id(r, |id| set_variable(r, v, Some(id))),
                None => set_variable(r, v, None),
            }
        }
    })
}
