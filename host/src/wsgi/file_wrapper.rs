//! `mod_wsgi.FileWrapper`, the class behind `wsgi.file_wrapper` (mod_wsgi semantics d.7).

use std::ffi::{c_char, c_int, c_void, CStr};
use std::ptr;
use std::sync::{Mutex, MutexGuard};

use pyo3::ffi;

use crate::lock::lock;
use crate::python::class::{
    self, arguments, callback, iter_self, method, next_callback, slot, Class,
};
use crate::python::object::{Kind, Object, Py, PyResult, Raised};

/// An instance before `__init__`, and once it is closed, has no file.
#[derive(Default)]
pub struct FileWrapper(Mutex<State>);

#[derive(Default)]
struct State {
    filelike: Option<Object>,
    block: ffi::Py_ssize_t,
}

impl Class for FileWrapper {
    const NAME: &'static CStr = c"mod_wsgi.FileWrapper";
    const FLAGS: std::ffi::c_ulong = ffi::Py_TPFLAGS_BASETYPE;
    const METHODS: &'static [ffi::PyMethodDef] = &[method!(FileWrapper, c"close", close)];

    fn slots() -> Vec<ffi::PyType_Slot> {
        let attributes = vec![
            attribute(c"filelike", get_filelike),
            attribute(c"blksize", get_blksize),
            ffi::PyGetSetDef::default(),
        ];
        // Python keeps the table for as long as the process lives.
        let attributes = Box::leak(attributes.into_boxed_slice()).as_mut_ptr();
        vec![
            slot(ffi::Py_tp_new, new as *mut c_void),
            slot(ffi::Py_tp_init, init as *mut c_void),
            slot(ffi::Py_tp_iter, iter_self as *mut c_void),
            slot(ffi::Py_tp_iternext, next as *mut c_void),
            slot(ffi::Py_tp_getset, attributes.cast()),
        ]
    }
}

fn attribute(name: &'static CStr, get: ffi::getter) -> ffi::PyGetSetDef {
    ffi::PyGetSetDef { name: name.as_ptr(), get: Some(get), ..ffi::PyGetSetDef::default() }
}

unsafe extern "C" fn new(
    class: *mut ffi::PyTypeObject,
    _: *mut ffi::PyObject,
    _: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    callback(|_| {
        let class = class.cast::<ffi::PyObject>();
        // SAFETY: Python passes the type, which is FileWrapper's or derived from it.
        let class = unsafe { Object::from_ref(&class) };
        class::instance(class, FileWrapper::default())
    })
}

unsafe extern "C" fn init(
    instance: *mut ffi::PyObject,
    arguments: *mut ffi::PyObject,
    named: *mut ffi::PyObject,
) -> c_int {
    let done = callback(|py| {
        let mut filelike: *mut ffi::PyObject = ptr::null_mut();
        let mut block: ffi::Py_ssize_t = 8192;
        let mut names: [*mut c_char; 3] =
            [c"filelike".as_ptr().cast_mut(), c"blksize".as_ptr().cast_mut(), ptr::null_mut()];
        // SAFETY: Python passes a live instance of the type, an argument tuple, and a dict or null;
        // the format names one object, which is borrowed, and one Py_ssize_t.
        let (wrapper, filelike) = unsafe {
            let parsed = ffi::PyArg_ParseTupleAndKeywords(
                arguments,
                named,
                c"O|n:FileWrapper".as_ptr(),
                names.as_mut_ptr().cast(),
                &mut filelike,
                &mut block,
            );
            if parsed == 0 {
                return Err(py.raised());
            }
            let wrapper = class::value::<FileWrapper>(Object::from_ref(&instance));
            (wrapper, Object::from_borrowed(filelike)?)
        };
        if block < 0 {
            return Err(py.raise(Kind::Value, "blksize must not be negative"));
        }
        let new = State { filelike: Some(filelike), block };
        let before = std::mem::replace(&mut *wrapper.state(), new);
        // Its destructors may look at this object.
        drop(before);
        Ok(py.none())
    });
    if done.is_null() {
        return -1;
    }
    // SAFETY: attached; the reference to None that the callback has returned.
    unsafe { ffi::Py_DECREF(done) };
    0
}

impl FileWrapper {
    /// Held for a moment only, never while Python runs.
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.0)
    }

    /// The file, as long as it is not closed.
    fn filelike(&self, py: Py) -> PyResult<Object> {
        let filelike = self.state().filelike.clone();
        filelike.ok_or_else(|| py.raise(Kind::Value, "I/O operation on closed file"))
    }
}

/// A derived class may have attributes of its own in the place of these.
fn next_block(py: Py, instance: &Object) -> PyResult<Option<Object>> {
    // SAFETY: Python passes a live instance of the type or of one derived from it.
    unsafe { class::value::<FileWrapper>(instance) }.filelike(py)?;
    let read = instance.attr(c"filelike")?.attr(c"read")?;
    let block = read.call(&[&instance.attr(c"blksize")?])?;
    match block.as_bytes() {
        Some([]) => Ok(None),
        Some(_) => Ok(Some(block)),
        None => {
            let name = if block.is_none() { "None".to_owned() } else { block.type_name() };
            let message = format!("file wrapper read() must return bytes, not {name}");
            Err(py.raise(Kind::Type, &message))
        }
    }
}

unsafe extern "C" fn next(instance: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: the instance lives during the call.
    next_callback(|py| next_block(py, unsafe { Object::from_ref(&instance) }))
}

fn close(py: Py, wrapper: &FileWrapper, tuple: &Object) -> PyResult<Object> {
    arguments(py, "close", tuple, 0, 0)?;
    let filelike = wrapper.state().filelike.take();
    if let Some(filelike) = filelike {
        let closed = match filelike.find_attr(c"close") {
            Ok(Some(close)) => close.call(&[]).map(drop),
            Ok(None) => Ok(()),
            Err(raised) => Err(raised),
        };
        closed.unwrap_or_else(|raised: Raised| py.clear(raised));
    }
    Ok(py.none())
}

unsafe extern "C" fn get_filelike(
    instance: *mut ffi::PyObject,
    _: *mut c_void,
) -> *mut ffi::PyObject {
    // SAFETY: Python passes a live instance of the type.
    callback(|py| unsafe { class::value::<FileWrapper>(Object::from_ref(&instance)) }.filelike(py))
}

unsafe extern "C" fn get_blksize(
    instance: *mut ffi::PyObject,
    _: *mut c_void,
) -> *mut ffi::PyObject {
    callback(|py| {
        // SAFETY: Python passes a live instance of the type.
        let wrapper = unsafe { class::value::<FileWrapper>(Object::from_ref(&instance)) };
        let block = wrapper.state().block;
        py.int(block as i64)
    })
}
