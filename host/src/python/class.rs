//! Python types with a Rust value behind each instance, made anew in every interpreter.

use std::ffi::{c_int, c_uint, c_void, CStr};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::ptr;

use pyo3::ffi;

use super::object::{Kind, Object, Py, PyResult};

/// An instance as Python sees it.
#[repr(C)]
pub struct Instance<T> {
    head: ffi::PyObject,
    value: T,
}

/// A Rust value that Python can hold.
pub trait Class: Sized + 'static {
    /// Qualified name of the type.
    const NAME: &'static CStr;
    /// Flags besides the default ones.
    const FLAGS: std::ffi::c_ulong = 0;
    /// Methods of the type.
    const METHODS: &'static [ffi::PyMethodDef];

    /// Slots besides methods and deallocation.
    fn slots() -> Vec<ffi::PyType_Slot>;
}

/// Makes the type in the current interpreter.
pub fn new<T: Class>(py: Py) -> PyResult<Object> {
    let mut slots = T::slots();
    if !slots.iter().any(|slot| slot.slot == ffi::Py_tp_new) {
        slots.push(slot(ffi::Py_tp_new, refuse_new as *mut c_void));
    }
    slots.push(slot(ffi::Py_tp_dealloc, dealloc::<T> as *mut c_void));
    slots.push(slot(ffi::Py_tp_methods, terminated(T::METHODS).cast()));
    slots.push(ffi::PyType_Slot { slot: 0, pfunc: ptr::null_mut() });
    let mut spec = ffi::PyType_Spec {
        name: T::NAME.as_ptr(),
        basicsize: size_of::<Instance<T>>() as c_int,
        itemsize: 0,
        flags: (ffi::Py_TPFLAGS_DEFAULT | T::FLAGS) as c_uint,
        slots: slots.as_mut_ptr(),
    };
    let _ = py;
    // SAFETY: attached; the slots hold functions of the types Python expects, the name is static
    // and the methods are never freed. Slots and spec are read during the call only.
    unsafe { Object::from_owned(ffi::PyType_FromSpec(&mut spec)) }
}

/// Makes an instance of a type from [`new`].
pub fn instance<T: Class>(class: &Object, value: T) -> PyResult<Object> {
    // SAFETY: the type was made for T, so the memory has room for an Instance<T>, whose head
    // Python has filled in; the value is written before anybody can see it.
    unsafe {
        let object = Object::from_owned(ffi::PyType_GenericAlloc(class.as_ptr().cast(), 0))?;
        (&raw mut (*object.as_ptr().cast::<Instance<T>>()).value).write(value);
        Ok(object)
    }
}

/// The value behind an instance.
///
/// # Safety
///
/// `object` is an instance of the type made for T.
pub unsafe fn value<T: Class>(object: &Object) -> &T {
    // SAFETY: the caller's promise.
    unsafe { &(*object.as_ptr().cast::<Instance<T>>()).value }
}

/// A slot with a function.
pub fn slot(number: c_int, function: *mut c_void) -> ffi::PyType_Slot {
    ffi::PyType_Slot { slot: number, pfunc: function }
}

/// A positional-argument method or function; tables get it from
/// the macros below.
pub const fn entry(name: &'static CStr, function: ffi::PyCFunction) -> ffi::PyMethodDef {
    ffi::PyMethodDef {
        ml_name: name.as_ptr(),
        ml_meth: ffi::PyMethodDefPointer { PyCFunction: function },
        ml_flags: ffi::METH_VARARGS,
        ml_doc: ptr::null(),
    }
}

/// Adds functions to a module's namespace.
pub fn add_functions(
    py: Py,
    namespace: &Object,
    functions: &'static [ffi::PyMethodDef],
) -> PyResult<()> {
    let mut next = terminated(functions);
    for _ in functions {
        // SAFETY: attached; the table is never freed and `next` stays within it.
        unsafe {
            let name = py.interned(&CStr::from_ptr((*next).ml_name).to_string_lossy())?;
            let function = ffi::PyCFunction_NewEx(next, ptr::null_mut(), ptr::null_mut());
            namespace.set_item(&name, &Object::from_owned(function)?)?;
            next = next.add(1);
        }
    }
    Ok(())
}

/// Python keeps pointers into method tables for as long as the process lives.
fn terminated(methods: &[ffi::PyMethodDef]) -> *mut ffi::PyMethodDef {
    let mut table = methods.to_vec();
    table.push(ffi::PyMethodDef::zeroed());
    Box::leak(table.into_boxed_slice()).as_mut_ptr()
}

/// An instance that Python made itself would have no Rust value.
unsafe extern "C" fn refuse_new(
    class: *mut ffi::PyTypeObject,
    _: *mut ffi::PyObject,
    _: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    callback(|py| {
        // SAFETY: Python passes a live type, whose name lives as long as it.
        let name = unsafe { CStr::from_ptr((*class).tp_name) }.to_string_lossy();
        Err(py.raise(Kind::Type, &format!("cannot create '{name}' instances")))
    })
}

unsafe extern "C" fn dealloc<T: Class>(object: *mut ffi::PyObject) {
    // SAFETY: Python calls this once, attached, for an instance of T's type or a subclass, when
    // nobody else has a reference. The instance holds a reference to its heap type.
    unsafe {
        let class = ffi::Py_TYPE(object);
        if T::FLAGS & ffi::Py_TPFLAGS_HAVE_GC != 0 {
            ffi::PyObject_GC_UnTrack(object.cast());
        }
        let value = &raw mut (*object.cast::<Instance<T>>()).value;
        // A panic in a destructor must not unwind into Python.
        let _ = catch_unwind(AssertUnwindSafe(|| ptr::drop_in_place(value)));
        let free = ffi::PyType_GetSlot(class, ffi::Py_tp_free);
        let free: ffi::freefunc = std::mem::transmute(free);
        free(object.cast());
        ffi::Py_DECREF(class.cast());
    }
}

/// Runs a callback from Python: errors become null, panics a Python exception.
pub fn callback(body: impl FnOnce(Py) -> PyResult<Object>) -> *mut ffi::PyObject {
    // SAFETY: Python calls callbacks with the thread attached.
    let py = unsafe { Py::assume() };
    match catch_unwind(AssertUnwindSafe(|| body(py))) {
        Ok(Ok(object)) => object.into_ptr(),
        Ok(Err(_)) => ptr::null_mut(),
        Err(_) => {
            py.raise(Kind::Runtime, "internal error in the WSGI host");
            ptr::null_mut()
        }
    }
}

/// Like [`callback`], for an iterator's next item: nothing left is null without an exception.
pub fn next_callback(body: impl FnOnce(Py) -> PyResult<Option<Object>>) -> *mut ffi::PyObject {
    let mut ended = false;
    let item = callback(|py| {
        let item = body(py)?;
        ended = item.is_none();
        Ok(item.unwrap_or_else(|| py.none()))
    });
    if !ended {
        return item;
    }
    // SAFETY: attached; the reference is the one made above.
    unsafe { ffi::Py_XDECREF(item) };
    ptr::null_mut()
}

/// Checks how many positional arguments there are and returns them.
pub fn arguments<'a>(
    py: Py,
    name: &str,
    tuple: &'a Object,
    least: usize,
    most: usize,
) -> PyResult<&'a [Object]> {
    let items = tuple.as_tuple().unwrap_or_default();
    if (least..=most).contains(&items.len()) {
        return Ok(items);
    }
    let (bound, number) = match (least, most) {
        (_, 0) => ("no", 0),
        (least, most) if least == most => ("exactly ", least),
        (least, _) if items.len() < least => ("at least ", least),
        (_, most) => ("at most ", most),
    };
    let expected = match number {
        0 => format!("{bound} arguments"),
        1 => format!("{bound}1 argument"),
        number => format!("{bound}{number} arguments"),
    };
    Err(py.raise(Kind::Type, &format!("{name}() takes {expected} ({} given)", items.len())))
}

/// An optional integer argument.
pub fn size_argument(py: Py, arguments: &[Object], default: isize) -> PyResult<isize> {
    let Some(argument) = arguments.first() else { return Ok(default) };
    // SAFETY: live objects; -1 is an error only with an exception set.
    unsafe {
        let number = Object::from_owned(ffi::PyNumber_Index(argument.as_ptr()))?;
        let size = ffi::PyLong_AsSsize_t(number.as_ptr());
        if size == -1 && !ffi::PyErr_Occurred().is_null() {
            return Err(py.raised());
        }
        Ok(size)
    }
}

/// A method of a [`Class`] from `fn(Py, &Class, &Object) -> PyResult<Object>`; the last argument
/// is the tuple of positional arguments.
macro_rules! method {
    ($class:ty, $name:literal, $function:expr) => {{
        unsafe extern "C" fn trampoline(
            instance: *mut pyo3::ffi::PyObject,
            arguments: *mut pyo3::ffi::PyObject,
        ) -> *mut pyo3::ffi::PyObject {
            $crate::python::class::callback(|py| {
                // SAFETY: Python calls methods with an instance of their class and an argument
                // tuple, both alive during the call.
                let (instance, arguments) = unsafe {
                    (
                        $crate::python::class::value::<$class>(
                            $crate::python::object::Object::from_ref(&instance),
                        ),
                        $crate::python::object::Object::from_ref(&arguments),
                    )
                };
                $function(py, instance, arguments)
            })
        }
        $crate::python::class::entry($name, trampoline)
    }};
}

/// A module's function from `fn(Py, &Object) -> PyResult<Object>`.
macro_rules! function {
    ($name:literal, $function:expr) => {{
        unsafe extern "C" fn trampoline(
            _: *mut pyo3::ffi::PyObject,
            arguments: *mut pyo3::ffi::PyObject,
        ) -> *mut pyo3::ffi::PyObject {
            $crate::python::class::callback(|py| {
                // SAFETY: Python passes an argument tuple that is alive during the call.
                $function(py, unsafe { $crate::python::object::Object::from_ref(&arguments) })
            })
        }
        $crate::python::class::entry($name, trampoline)
    }};
}

pub(crate) use {function, method};

/// `__iter__` of an iterator.
pub unsafe extern "C" fn iter_self(instance: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: Python passes a live instance; the caller gets a reference of its own.
    unsafe {
        ffi::Py_INCREF(instance);
    }
    instance
}
