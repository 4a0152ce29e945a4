//! What other modules of this nginx know: their variables, and their settings for a location. Any
//! of them may be missing from an nginx.

use std::ffi::CStr;
use std::marker::PhantomData;
use std::ptr::NonNull;

use nginx_sys::{ngx_http_get_flushed_variable, ngx_http_get_variable_index, ngx_uint_t};

use super::{str_of, Conf, ConfigError, Request};

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
