//! What other modules of this nginx know: their variables, and their settings for a location. Any
//! of them may be missing from an nginx.

use std::ffi::CStr;
use std::marker::PhantomData;
use std::ptr::NonNull;

use nginx_sys::{
    ngx_cycle_t, ngx_hash_key_t, ngx_http_get_flushed_variable, ngx_http_get_variable_index,
    ngx_http_request_t, ngx_http_variable_t, ngx_http_variable_value_t, ngx_int_t, ngx_uint_t,
};
use ngx::http::{HttpModuleMainConf, NgxHttpCoreModule};

use super::{bytes, str_of, Conf, ConfigError, Request};

/// A variable that is read by its index, as nginx's own modules read the variables of a log format.
#[derive(Clone, Copy, Debug)]
pub struct Variable(ngx_uint_t);

impl Variable {
    /// Looks a variable up while the configuration is read. One that no module has defined fails
    /// the configuration afterwards.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] without memory, logged by nginx.
    pub fn find(cf: Conf, name: &'static str) -> Result<Self, ConfigError> {
        let mut name = str_of(name.as_bytes());
        // SAFETY: nginx copies the name, and compares it without writing to it.
        let index = unsafe { ngx_http_get_variable_index(cf.as_ptr(), &mut name) };
        ngx_uint_t::try_from(index).map(Variable).map_err(|_| ConfigError)
    }

    /// A variable that something in a configuration refers to; `None`: nothing does. For when all of the
    /// configuration has been read.
    pub fn referred_to(cycle: &ngx_cycle_t, name: &str) -> Option<Self> {
        let core = NgxHttpCoreModule::main_conf(cycle)?;
        // SAFETY: the core module's array of variables that are read by their index.
        let variables = unsafe { core.variables.as_slice::<ngx_http_variable_t>() };
        // SAFETY: names live as long as the cycle.
        let is_it = |it: &ngx_http_variable_t| unsafe { bytes(&it.name) == name.as_bytes() };
        variables.iter().position(is_it).map(Variable)
    }

    /// Has nginx evaluate the variable again when it is needed next.
    pub fn forget(self, r: Request) {
        // SAFETY: an index of the configuration that r belongs to.
        unsafe {
            let value = &mut *r.get().variables.add(self.0);
            value.set_valid(0);
            value.set_not_found(0);
        }
    }

    /// The value for a request now, `None` when there is none.
    pub fn get<'a>(self, r: Request) -> Option<&'a [u8]> {
        // SAFETY: an index of the configuration that r belongs to; the value lives as long as r.
        unsafe {
            let value = ngx_http_get_flushed_variable(r.as_ptr(), self.0).as_ref()?;
            if value.not_found() != 0 || value.valid() == 0 {
                return None;
            }
            let data = if value.len() == 0 { NonNull::dangling().as_ptr() } else { value.data };
            Some(std::slice::from_raw_parts(data, value.len() as usize))
        }
    }
}

/// How a variable is evaluated.
type Getter = unsafe extern "C" fn(
    *mut ngx_http_request_t,
    *mut ngx_http_variable_value_t,
    usize,
) -> ngx_int_t;

/// Has a variable of nginx's own evaluated by `getter` from now on, and gives what did it before.
/// `None`: there is no such variable, or it is overridden already. For the end of the configuration,
/// before nginx looks the variables up.
pub fn override_variable(cf: Conf, name: &str, getter: Getter) -> Option<Getter> {
    // SAFETY: while the configuration is read, the core module's keys are an array whose values are
    // variables in the cycle's pool.
    unsafe {
        let core = NgxHttpCoreModule::main_conf_mut(cf.get())?;
        let keys = (*core.variables_keys).keys.as_slice::<ngx_hash_key_t>();
        let key = keys.iter().find(|key| bytes(&key.key) == name.as_bytes())?;
        let variable = key.value.cast::<ngx_http_variable_t>().as_mut()?;
        let before = variable.get_handler?;
        if std::ptr::fn_addr_eq(before, getter) {
            return None;
        }
        variable.get_handler = Some(getter);
        Some(before)
    }
}

/// Another module, whose location configuration begins with a `T`.
#[derive(Debug)]
pub struct Neighbour<T> {
    index: usize,
    start: PhantomData<T>,
}

impl<T> Neighbour<T> {
    /// Looks an HTTP module up by name. `None`: this nginx does not have it.
    ///
    /// # Safety
    ///
    /// In every nginx that has a module of this name, its location configuration begins with a `T`.
    pub unsafe fn find(cf: Conf, name: &CStr) -> Option<Self> {
        Some(Neighbour { index: module_index(cf, name)?, start: PhantomData })
    }

    /// Whether the module has noted something of the request.
    pub fn has_context(&self, r: Request) -> bool {
        // SAFETY: ctx has a slot for each module.
        unsafe { !(*r.get().ctx.add(self.index)).is_null() }
    }

    /// The start of the module's settings for the request's location.
    pub fn settings(&self, r: Request) -> Option<&T> {
        // SAFETY: loc_conf has a slot for each module; the configuration lives as long as the
        // cycle and begins with a T, see find.
        unsafe { (*r.get().loc_conf.add(self.index)).cast::<T>().as_ref() }
    }
}

/// Whether this nginx has a module.
pub fn has_module(cf: Conf, name: &CStr) -> bool {
    module_index(cf, name).is_some()
}

fn module_index(cf: Conf, name: &CStr) -> Option<usize> {
    // SAFETY: the modules of the cycle being configured are an array that ends with null; each has
    // a name, and HTTP modules have their index by the time that directives are read.
    unsafe {
        let mut module = (*cf.get().cycle).modules;
        while !(*module).is_null() {
            if CStr::from_ptr((**module).name) == name {
                return Some((**module).ctx_index);
            }
            module = module.add(1);
        }
    }
    None
}
