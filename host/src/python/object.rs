//! Owned references to Python objects.
//!
//! An [`Object`] belongs to the interpreter it was made in and is used, cloned and dropped only
//! while the thread is attached to that interpreter. It is neither `Send` nor `Sync`, so it cannot
//! get into the closure of [`Py::detach`].

use std::ffi::{CStr, CString};
use std::marker::PhantomData;
use std::os::raw::{c_char, c_int};
use std::ptr::{self, NonNull};

use pyo3::ffi;

use super::gil;

/// Proof that this thread is attached to an interpreter.
#[derive(Clone, Copy)]
pub struct Py(PhantomData<*mut ()>);

/// A Python exception is set in the current thread state.
#[derive(Debug)]
pub struct Raised(());

/// What may have raised a Python exception.
pub type PyResult<T> = Result<T, Raised>;

/// The exceptions that this crate raises itself.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Os,
    Runtime,
    Type,
    Value,
}

/// An owned reference.
#[repr(transparent)]
pub struct Object(NonNull<ffi::PyObject>);

impl Py {
    /// # Safety
    ///
    /// The thread is attached for as long as the token is used.
    pub unsafe fn assume() -> Self {
        Py(PhantomData)
    }

    /// Runs `work` without the GIL.
    pub fn detach<T: Send>(self, work: impl FnOnce() -> T + Send) -> T {
        struct Reattach(*mut ffi::PyThreadState);
        impl Drop for Reattach {
            fn drop(&mut self) {
                // SAFETY: the state is this thread's own, saved below and restored only here.
                gil::waiting(|| unsafe { ffi::PyEval_RestoreThread(self.0) });
            }
        }
        // SAFETY: the token proves that the thread is attached.
        let _reattach = Reattach(unsafe { ffi::PyEval_SaveThread() });
        work()
    }

    /// Sets an exception.
    pub fn raise(self, kind: Kind, message: &str) -> Raised {
        let text = CString::new(message.replace('\0', "\\0")).unwrap_or_default();
        // SAFETY: attached; the exception types are immortal and the text is copied.
        unsafe {
            let class = match kind {
                Kind::Os => ffi::PyExc_OSError,
                Kind::Runtime => ffi::PyExc_RuntimeError,
                Kind::Type => ffi::PyExc_TypeError,
                Kind::Value => ffi::PyExc_ValueError,
            };
            ffi::PyErr_SetString(class, text.as_ptr());
        }
        Raised(())
    }

    /// The exception that a C function has set.
    pub fn raised(self) -> Raised {
        Raised(())
    }

    /// Forgets the exception that is set.
    pub fn clear(self, _: Raised) {
        // SAFETY: attached.
        unsafe { ffi::PyErr_Clear() }
    }

    /// `None`.
    pub fn none(self) -> Object {
        // SAFETY: attached; None is immortal.
        unsafe { Object::immortal(ffi::Py_None()) }
    }

    /// `True` or `False`.
    pub fn bool(self, value: bool) -> Object {
        // SAFETY: attached; both are immortal.
        unsafe { Object::immortal(if value { ffi::Py_True() } else { ffi::Py_False() }) }
    }

    /// A Python integer.
    pub fn int(self, value: i64) -> PyResult<Object> {
        // SAFETY: attached; a new reference is returned.
        unsafe { Object::from_owned(ffi::PyLong_FromLongLong(value)) }
    }

    /// A Python float.
    pub fn float(self, value: f64) -> PyResult<Object> {
        // SAFETY: attached; a new reference is returned.
        unsafe { Object::from_owned(ffi::PyFloat_FromDouble(value)) }
    }

    /// A Python string.
    pub fn str(self, text: &str) -> PyResult<Object> {
        let (start, len) = span(text.as_bytes());
        // SAFETY: attached; the text is UTF-8 and copied; a new reference is returned.
        unsafe { Object::from_owned(ffi::PyUnicode_FromStringAndSize(start, len)) }
    }

    /// A Python string with one code point for each byte.
    pub fn latin1(self, bytes: &[u8]) -> PyResult<Object> {
        let (start, len) = span(bytes);
        // SAFETY: attached; the bytes are copied; a new reference is returned.
        unsafe { Object::from_owned(ffi::PyUnicode_DecodeLatin1(start, len, ptr::null())) }
    }

    /// A Python string from a file name.
    pub fn path(self, bytes: &[u8]) -> PyResult<Object> {
        let (start, len) = span(bytes);
        // SAFETY: attached; the bytes are copied; a new reference is returned.
        unsafe { Object::from_owned(ffi::PyUnicode_DecodeFSDefaultAndSize(start, len)) }
    }

    /// A string that Python keeps once, for attribute names and dictionary keys.
    pub fn interned(self, text: &str) -> PyResult<Object> {
        let mut string = self.str(text)?.into_ptr();
        // SAFETY: attached; the reference is exchanged for the interned string's.
        unsafe {
            ffi::PyUnicode_InternInPlace(&mut string);
            Object::from_owned(string)
        }
    }

    /// A Python bytes object.
    pub fn bytes(self, bytes: &[u8]) -> PyResult<Object> {
        let (start, len) = span(bytes);
        // SAFETY: attached; the bytes are copied; a new reference is returned.
        unsafe { Object::from_owned(ffi::PyBytes_FromStringAndSize(start, len)) }
    }

    /// A bytes object to be filled, of no length yet.
    pub fn bytes_buffer(self) -> BytesBuffer {
        BytesBuffer { object: ptr::null_mut(), len: 0 }
    }

    /// A new tuple.
    pub fn tuple(self, items: &[&Object]) -> PyResult<Object> {
        // SAFETY: attached; every one of the new tuple's places is filled with a reference of its
        // own.
        unsafe {
            let tuple = Object::from_owned(ffi::PyTuple_New(items.len() as ffi::Py_ssize_t))?;
            for (position, item) in items.iter().enumerate() {
                let item = Object::clone(item).into_ptr();
                ffi::PyTuple_SetItem(tuple.as_ptr(), position as ffi::Py_ssize_t, item);
            }
            Ok(tuple)
        }
    }

    /// A new list of strings from file names.
    pub fn path_list<'a>(self, paths: impl Iterator<Item = &'a [u8]>) -> PyResult<Object> {
        let list = self.list()?;
        for path in paths {
            list.append(&self.path(path)?)?;
        }
        Ok(list)
    }

    /// A new, empty list.
    pub fn list(self) -> PyResult<Object> {
        // SAFETY: attached; a new reference is returned.
        unsafe { Object::from_owned(ffi::PyList_New(0)) }
    }

    /// A new, empty dictionary.
    pub fn dict(self) -> PyResult<Object> {
        // SAFETY: attached; a new reference is returned.
        unsafe { Object::from_owned(ffi::PyDict_New()) }
    }

    /// Imports a module.
    pub fn import(self, name: &CStr) -> PyResult<Object> {
        // SAFETY: attached; a new reference is returned.
        unsafe { Object::from_owned(ffi::PyImport_ImportModule(name.as_ptr())) }
    }
}

impl Object {
    /// Takes over a reference that a C function has returned; null means that it has raised.
    ///
    /// # Safety
    ///
    /// `object` is null with an exception set, or a reference that nobody else gives back.
    pub unsafe fn from_owned(object: *mut ffi::PyObject) -> PyResult<Self> {
        NonNull::new(object).map(Object).ok_or(Raised(()))
    }

    /// Makes a reference of its own from a borrowed one.
    ///
    /// # Safety
    ///
    /// `object` is null with an exception set, or a live object.
    pub unsafe fn from_borrowed(object: *mut ffi::PyObject) -> PyResult<Self> {
        // SAFETY: the caller's promise; incrementing null is allowed here.
        unsafe {
            ffi::Py_XINCREF(object);
            Self::from_owned(object)
        }
    }

    /// # Safety
    ///
    /// `object` is one of Python's immortal objects.
    unsafe fn immortal(object: *mut ffi::PyObject) -> Self {
        // SAFETY: the caller's promise: it is alive and not null.
        unsafe {
            ffi::Py_INCREF(object);
            Object(NonNull::new_unchecked(object))
        }
    }

    /// Looks at a pointer that a callback was given as if it were an owned reference.
    ///
    /// # Safety
    ///
    /// The pointer is not null and its object lives as long as the result.
    pub unsafe fn from_ref(object: &*mut ffi::PyObject) -> &Self {
        // SAFETY: Object is transparent over a non-null pointer of the same type.
        unsafe { &*ptr::from_ref(object).cast::<Object>() }
    }

    /// The pointer, still owned by `self`.
    pub fn as_ptr(&self) -> *mut ffi::PyObject {
        self.0.as_ptr()
    }

    /// The pointer; the caller owns the reference.
    pub fn into_ptr(self) -> *mut ffi::PyObject {
        let object = self.0.as_ptr();
        std::mem::forget(self);
        object
    }

    /// Whether it is `None`.
    pub fn is_none(&self) -> bool {
        // SAFETY: only compares addresses.
        unsafe { ffi::Py_IsNone(self.as_ptr()) != 0 }
    }

    /// Python's truth of it.
    pub fn is_true(&self) -> PyResult<bool> {
        // SAFETY: a live object.
        match unsafe { ffi::PyObject_IsTrue(self.as_ptr()) } {
            -1 => Err(Raised(())),
            truth => Ok(truth == 1),
        }
    }

    /// Whether it is an instance of `class` or of a subclass.
    pub fn is_instance_of(&self, class: &Object) -> bool {
        // SAFETY: `class` is a type object, made by `class::new`.
        unsafe { ffi::PyObject_TypeCheck(self.as_ptr(), class.as_ptr().cast()) != 0 }
    }

    /// Name of its type, for messages.
    pub fn type_name(&self) -> String {
        // SAFETY: a live object's type has a name that lives as long as the type.
        unsafe { CStr::from_ptr((*ffi::Py_TYPE(self.as_ptr())).tp_name) }
            .to_string_lossy()
            .into_owned()
    }

    /// The type as Python's own argument errors name it.
    pub fn described(&self) -> String {
        if self.is_none() {
            return "None".to_owned();
        }
        self.type_name()
    }

    /// What repr() says.
    pub fn repr(&self) -> PyResult<String> {
        // SAFETY: a live object; a new reference to a str is returned, or an exception raised.
        let shown = unsafe { Object::from_owned(ffi::PyObject_Repr(self.as_ptr())) }?;
        let encoded = shown.encode_utf8(c"backslashreplace")?;
        Ok(String::from_utf8_lossy(encoded.as_bytes().unwrap_or_default()).into_owned())
    }

    /// The contents, when it is a bytes object.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        // SAFETY: checked to be bytes, which never change while the reference is held.
        unsafe {
            if ffi::PyBytes_Check(self.as_ptr()) == 0 {
                return None;
            }
            let start = ffi::PyBytes_AsString(self.as_ptr()).cast::<u8>();
            Some(std::slice::from_raw_parts(start, ffi::PyBytes_Size(self.as_ptr()) as usize))
        }
    }

    /// Its value, when it is an int that fits.
    pub fn as_int(&self) -> Option<i64> {
        // SAFETY: a live object, checked to be an int; overflow is reported without an exception.
        unsafe {
            if ffi::PyLong_Check(self.as_ptr()) == 0 {
                return None;
            }
            let mut overflow = 0;
            let value = ffi::PyLong_AsLongLongAndOverflow(self.as_ptr(), &mut overflow);
            (overflow == 0).then_some(value)
        }
    }

    /// Whether it is a str.
    pub fn is_str(&self) -> bool {
        // SAFETY: a live object.
        unsafe { ffi::PyUnicode_Check(self.as_ptr()) != 0 }
    }

    /// The characters of a str, if all of them are ASCII.
    pub fn as_ascii(&self) -> Option<&[u8]> {
        // SAFETY: a live object, checked to be a str, which keeps its UTF-8 as long as it lives.
        // Surrogates have none, and raise.
        unsafe {
            if ffi::PyUnicode_Check(self.as_ptr()) == 0 {
                return None;
            }
            let mut size = 0;
            let start = ffi::PyUnicode_AsUTF8AndSize(self.as_ptr(), &mut size);
            if start.is_null() {
                ffi::PyErr_Clear();
                return None;
            }
            let ascii = size == ffi::PyUnicode_GetLength(self.as_ptr());
            ascii.then(|| std::slice::from_raw_parts(start.cast(), size as usize))
        }
    }

    /// A str's latin-1 bytes.
    pub fn encode_latin1(&self) -> PyResult<Object> {
        // SAFETY: a live object; a new reference is returned, or TypeError raised.
        unsafe { Object::from_owned(ffi::PyUnicode_AsLatin1String(self.as_ptr())) }
    }

    /// A str as UTF-8; the codec error handler `unfit` takes care of lone surrogates.
    pub fn encode_utf8(&self, unfit: &CStr) -> PyResult<Object> {
        // SAFETY: a live object; a new reference is returned, or TypeError raised.
        unsafe {
            Object::from_owned(ffi::PyUnicode_AsEncodedString(
                self.as_ptr(),
                c"utf-8".as_ptr(),
                unfit.as_ptr(),
            ))
        }
    }

    /// Characters of a str.
    pub fn str_len(&self) -> i64 {
        // SAFETY: a live object, a str by the caller's check.
        unsafe { ffi::PyUnicode_GetLength(self.as_ptr()) as i64 }
    }

    /// An attribute.
    pub fn attr(&self, name: &CStr) -> PyResult<Object> {
        // SAFETY: a live object; a new reference is returned.
        unsafe { Object::from_owned(ffi::PyObject_GetAttrString(self.as_ptr(), name.as_ptr())) }
    }

    /// An attribute that may be missing.
    pub fn find_attr(&self, name: &CStr) -> PyResult<Option<Object>> {
        match self.attr(name) {
            Ok(value) => Ok(Some(value)),
            // SAFETY: attached, with an exception set; the type is immortal.
            Err(raised) => unsafe {
                if ffi::PyErr_ExceptionMatches(ffi::PyExc_AttributeError) == 0 {
                    return Err(raised);
                }
                ffi::PyErr_Clear();
                Ok(None)
            },
        }
    }

    /// Sets an attribute.
    pub fn set_attr(&self, name: &CStr, value: &Object) -> PyResult<()> {
        // SAFETY: live objects.
        check(unsafe { ffi::PyObject_SetAttrString(self.as_ptr(), name.as_ptr(), value.as_ptr()) })
    }

    /// Calls it.
    pub fn call(&self, arguments: &[&Object]) -> PyResult<Object> {
        /// Nothing here is called with more, but by hooks.
        const USUAL: usize = 5;
        let (mut few, many): ([_; USUAL], Vec<_>);
        let pointers = if arguments.len() <= USUAL {
            few = [ptr::null_mut(); USUAL];
            few.iter_mut().zip(arguments).for_each(|(place, object)| *place = object.as_ptr());
            &few[..arguments.len()]
        } else {
            many = arguments.iter().map(|object| object.as_ptr()).collect();
            &many
        };
        // SAFETY: live objects, which the arguments are as long as the call takes; its new reference is
        // returned.
        unsafe {
            Object::from_owned(ffi::PyObject_Vectorcall(
                self.as_ptr(),
                pointers.as_ptr(),
                pointers.len(),
                ptr::null_mut(),
            ))
        }
    }

    /// Calls a method of it.
    pub fn call_method(&self, name: &CStr, arguments: &[&Object]) -> PyResult<Object> {
        self.attr(name)?.call(arguments)
    }

    /// Its iterator.
    pub fn iter(&self) -> PyResult<Object> {
        // SAFETY: a live object; a new reference is returned.
        unsafe { Object::from_owned(ffi::PyObject_GetIter(self.as_ptr())) }
    }

    /// An iterator's next item.
    pub fn next(&self) -> PyResult<Option<Object>> {
        // SAFETY: a live object; null without an exception is the end.
        unsafe {
            let item = ffi::PyIter_Next(self.as_ptr());
            if item.is_null() && ffi::PyErr_Occurred().is_null() {
                return Ok(None);
            }
            Object::from_owned(item).map(Some)
        }
    }

    /// Sets a dictionary's entry.
    pub fn set_item(&self, key: &Object, value: &Object) -> PyResult<()> {
        // SAFETY: live objects, `self` a dict.
        check(unsafe { ffi::PyDict_SetItem(self.as_ptr(), key.as_ptr(), value.as_ptr()) })
    }

    /// A module's namespace, or whatever stands in `sys.modules` has for one.
    pub fn namespace(&self) -> PyResult<Object> {
        // SAFETY: a live object; a module's dictionary is borrowed from it and not null.
        unsafe {
            match ffi::PyModule_Check(self.as_ptr()) {
                0 => self.attr(c"__dict__"),
                _ => Object::from_borrowed(ffi::PyModule_GetDict(self.as_ptr())),
            }
        }
    }

    /// Whether it is a list or a tuple, and no subclass of them: one without a `close` method.
    pub fn is_plain_sequence(&self) -> bool {
        // SAFETY: a live object.
        unsafe {
            ffi::PyList_CheckExact(self.as_ptr()) != 0
                || ffi::PyTuple_CheckExact(self.as_ptr()) != 0
        }
    }

    /// A copy of a dictionary.
    pub fn copy_dict(&self) -> PyResult<Object> {
        // SAFETY: a live object, `self` a dict; a new reference is returned.
        unsafe { Object::from_owned(ffi::PyDict_Copy(self.as_ptr())) }
    }

    /// A dictionary's entry.
    pub fn get_item(&self, key: &Object) -> PyResult<Option<Object>> {
        // SAFETY: live objects, `self` a dict; the borrowed result gets a reference of its own.
        unsafe {
            let value = ffi::PyDict_GetItemWithError(self.as_ptr(), key.as_ptr());
            if value.is_null() && ffi::PyErr_Occurred().is_null() {
                return Ok(None);
            }
            Object::from_borrowed(value).map(Some)
        }
    }

    /// Removes a dictionary's entry, if there is one.
    pub fn remove_item(&self, key: &Object) -> PyResult<()> {
        // SAFETY: attached; live objects, `self` a dict; the exception type is immortal.
        unsafe {
            let removed = check(ffi::PyDict_DelItem(self.as_ptr(), key.as_ptr()));
            removed.or_else(|raised| match ffi::PyErr_ExceptionMatches(ffi::PyExc_KeyError) {
                0 => Err(raised),
                _ => {
                    ffi::PyErr_Clear();
                    Ok(())
                }
            })
        }
    }

    /// Appends to a list.
    pub fn append(&self, item: &Object) -> PyResult<()> {
        // SAFETY: live objects, `self` a list.
        check(unsafe { ffi::PyList_Append(self.as_ptr(), item.as_ptr()) })
    }

    /// Whether it is a list that holds nothing, or no list at all.
    pub fn is_empty_list(&self) -> bool {
        // SAFETY: a live object, asked for its size only when it is a list.
        unsafe { ffi::PyList_Check(self.as_ptr()) == 0 || ffi::PyList_Size(self.as_ptr()) == 0 }
    }

    /// The items of a list, which may change meanwhile.
    pub fn list_items(&self) -> impl Iterator<Item = Object> + '_ {
        // SAFETY: asked for only when it is a list; one that shrinks meanwhile ends the iteration, and a
        // borrowed item gets a reference of its own before any Python runs.
        (0..).map_while(|position| unsafe {
            let list = self.as_ptr();
            if ffi::PyList_Check(list) == 0 || position >= ffi::PyList_Size(list) {
                return None;
            }
            Object::from_borrowed(ffi::PyList_GetItem(list, position)).ok()
        })
    }

    /// The items of a tuple.
    pub fn as_tuple(&self) -> Option<&[Object]> {
        // SAFETY: checked to be a tuple, whose items are behind its head and never change while somebody
        // has a reference to it; none of them is null, and Object is transparent over such a pointer.
        unsafe {
            if ffi::PyTuple_Check(self.as_ptr()) == 0 {
                return None;
            }
            let tuple = self.as_ptr().cast::<ffi::PyTupleObject>();
            let len = ffi::PyTuple_Size(self.as_ptr()) as usize;
            Some(std::slice::from_raw_parts((&raw const (*tuple).ob_item).cast(), len))
        }
    }

    /// The item of a list that is no subclass and holds just one: iterating it runs no Python.
    pub fn only_item(&self) -> Option<Object> {
        // SAFETY: checked to be a list of one item; the borrowed item gets a reference of its own.
        unsafe {
            let list = self.as_ptr();
            let single = ffi::PyList_CheckExact(list) != 0 && ffi::PyList_Size(list) == 1;
            if !single {
                return None;
            }
            Object::from_borrowed(ffi::PyList_GetItem(list, 0)).ok()
        }
    }

    /// Whether it is a tuple.
    pub fn is_tuple(&self) -> bool {
        // SAFETY: a live object.
        unsafe { ffi::PyTuple_Check(self.as_ptr()) != 0 }
    }

    /// Whether it is a list.
    pub fn is_list(&self) -> bool {
        // SAFETY: a live object.
        unsafe { ffi::PyList_Check(self.as_ptr()) != 0 }
    }
}

impl Clone for Object {
    fn clone(&self) -> Self {
        // SAFETY: a live object.
        unsafe { ffi::Py_INCREF(self.as_ptr()) };
        Object(self.0)
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        // SAFETY: the reference is ours, and objects are dropped only while attached.
        unsafe { ffi::Py_DECREF(self.as_ptr()) }
    }
}

extern "C" {
    // Missing from pyo3's bindings.
    fn _PyBytes_Resize(bytes: *mut *mut ffi::PyObject, size: ffi::Py_ssize_t) -> c_int;
}

/// A bytes object that nobody knows yet and that is filled in place.
pub struct BytesBuffer {
    /// Null, or the only reference; its size is the capacity.
    object: *mut ffi::PyObject,
    len: usize,
}

impl BytesBuffer {
    /// How many bytes have been written.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Makes room for so many more bytes; what has been written may move.
    pub fn reserve(&mut self, _: Py, more: usize) -> PyResult<()> {
        let size = self.len.checked_add(more).and_then(|size| isize::try_from(size).ok());
        let size = size.unwrap_or(isize::MAX);
        // SAFETY: attached; the object has not been handed out, so it may be resized. When that fails
        // it is gone and null is left.
        unsafe {
            if self.object.is_null() {
                self.object = ffi::PyBytes_FromStringAndSize(ptr::null(), size);
                return if self.object.is_null() { Err(Raised(())) } else { Ok(()) };
            }
            check(_PyBytes_Resize(&mut self.object, size))
        }
    }

    /// The room behind what has been written. Its content means nothing and is only to be overwritten.
    pub fn room(&mut self) -> &mut [u8] {
        if self.object.is_null() {
            return &mut [];
        }
        // SAFETY: the object's memory, of its size, which nobody else refers to; len lies within.
        unsafe {
            let start = ffi::PyBytes_AsString(self.object).cast::<u8>();
            let size = ffi::PyBytes_Size(self.object) as usize;
            std::slice::from_raw_parts_mut(start.add(self.len), size - self.len)
        }
    }

    /// So many bytes have been written into the room, at most all of it.
    pub fn advance(&mut self, written: usize) {
        debug_assert!(written <= self.room().len());
        self.len += written;
    }

    /// The object, as long as what has been written.
    pub fn finish(mut self, py: Py) -> PyResult<Object> {
        if self.len == 0 {
            return py.bytes(b"");
        }
        if !self.room().is_empty() {
            self.reserve(py, 0)?;
        }
        let object = std::mem::replace(&mut self.object, ptr::null_mut());
        // SAFETY: the only reference, which is handed on.
        unsafe { Object::from_owned(object) }
    }
}

impl Drop for BytesBuffer {
    fn drop(&mut self) {
        // SAFETY: null, or a reference of ours; made and dropped while attached, as objects are.
        unsafe { ffi::Py_XDECREF(self.object) };
    }
}

/// The result of a C function that returns -1 when it has raised.
pub fn check(result: i32) -> PyResult<()> {
    if result < 0 {
        Err(Raised(()))
    } else {
        Ok(())
    }
}

fn span(bytes: &[u8]) -> (*const c_char, ffi::Py_ssize_t) {
    (bytes.as_ptr().cast(), bytes.len() as ffi::Py_ssize_t)
}
