//! Bytes in: any object with the buffer protocol, borrowed without a copy. And words in memory that is shared.
//!
//! The only `unsafe` of the extension is here. `pyo3::buffer` is not used because it asks for more than
//! bytes: it refuses `ctypes` arrays (no strides) and numpy arrays whose item type has no format
//! character (`bfloat16`, `datetime64`).
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::sync::atomic::AtomicU64;

use pyo3::exceptions::PyBufferError;
use pyo3::ffi;
use pyo3::prelude::*;

/// The bytes of a C-contiguous buffer of any item type, which stays exported until this is dropped.
///
/// The `Py_buffer` is boxed because exporters may keep pointers into it.
pub(crate) struct Bytes(Box<ffi::Py_buffer>);

// SAFETY: a `Py_buffer` is plain data that belongs to nobody else. It may be moved to another thread and
// read there: its pointers stay valid until it is released, and it is released with the interpreter
// attached, whichever thread that is.
unsafe impl Send for Bytes {}
// SAFETY: as above; a shared reference only reads the pointer, the length and the bytes.
unsafe impl Sync for Bytes {}

impl Bytes {
    fn export(object: Borrowed<'_, '_, PyAny>, flags: c_int) -> PyResult<Self> {
        let mut view = Box::new(ffi::Py_buffer::new());
        // SAFETY: `object` is a live object, `view` is valid for writes, and the interpreter is attached.
        // On failure nothing is exported and an exception is set; then `view` is dropped unreleased.
        let status = unsafe { ffi::PyObject_GetBuffer(object.as_ptr(), &raw mut *view, flags) };
        if status == 0 {
            return Ok(Self(view));
        }
        Err(PyErr::fetch(object.py()))
    }

    /// Return the bytes. They may be used without the interpreter lock.
    pub(crate) fn as_slice(&self) -> &[u8] {
        let length = usize::try_from(self.0.len).unwrap_or_default();
        if length == 0 {
            // An exporter of nothing may give a null pointer.
            return &[];
        }
        // SAFETY: the exporter granted a request for `PyBUF_SIMPLE`, so `buf` points to `len` initialised
        // bytes in a row. The export is held by `self`: the exporter keeps the memory in place and alive
        // until it is released, which the lifetime of the slice prevents. What the type system can't rule
        // out is that Python code writes to a mutable buffer while we read it, without the interpreter lock or on
        // a Python that has none.
        // As with `hashlib`, that is the caller's mistake and documented as one; its result is a value
        // computed from mixed bytes: the code that reads them checks every length and index it derives
        // from them, and keeps no reference to them after the call.
        unsafe { std::slice::from_raw_parts(self.0.buf.cast::<u8>().cast_const(), length) }
    }
}

impl Drop for Bytes {
    fn drop(&mut self) {
        Python::attach(|_| {
            // SAFETY: `extract` filled the struct by a successful `PyObject_GetBuffer`, this is the only
            // release of it, and the interpreter is attached.
            unsafe { ffi::PyBuffer_Release(&raw mut *self.0) }
        });
    }
}

impl<'py> FromPyObject<'_, 'py> for Bytes {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let py = object.py();
        let error = match Self::export(object, ffi::PyBUF_SIMPLE) {
            Ok(bytes) => return Ok(bytes),
            Err(error) => error,
        };
        // numpy says ValueError where the protocol says BufferError.
        if error.is_instance_of::<PyBufferError>(py) || error.is_instance_of::<pyo3::exceptions::PyValueError>(py) {
            let message =
                "the buffer is not C-contiguous: pass a contiguous copy, such as numpy.ascontiguousarray(array)";
            let refusal = PyBufferError::new_err(message);
            refusal.set_cause(py, Some(error));
            return Err(refusal);
        }
        Err(error)
    }
}

/// The words of a writable buffer that other processes may have too, such as an `mmap`; used by atomic operations
/// only. A rest of less than a word is left out.
pub(crate) struct Words {
    bytes: Bytes,
    count: usize,
}

impl Words {
    /// Return the words.
    pub(crate) fn as_slice(&self) -> &[AtomicU64] {
        if self.count == 0 {
            return &[];
        }
        // SAFETY: the exporter granted a request for `PyBUF_WRITABLE`, so `buf` points to memory that may be read and
        // written, of at least `count` words; `extract` computed that and checked the alignment. The export is held
        // by `self`, so the memory stays in place and alive as long as the slice: closing or resizing an `mmap` with
        // an export raises `BufferError`. `AtomicU64` has the size and the alignment of `u64` (the assertions below),
        // every bit pattern is one of its values, and it allows changes through a shared reference. All accesses by
        // this type are atomic, those of other threads and those of other processes that map the memory: they run
        // this same code. As with `Bytes`, what can't be ruled out is that Python code writes to the buffer
        // directly; that is documented as the caller's mistake, and those who read a word take nothing of it for
        // granted.
        unsafe { std::slice::from_raw_parts(self.bytes.0.buf.cast::<AtomicU64>().cast_const(), self.count) }
    }
}

const _: () = assert!(size_of::<AtomicU64>() == 8 && align_of::<AtomicU64>() == 8);

impl<'py> FromPyObject<'_, 'py> for Words {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let bytes = Bytes::export(object, ffi::PyBUF_WRITABLE)?;
        if !bytes.0.buf.cast::<AtomicU64>().is_aligned() {
            return Err(PyBufferError::new_err("the buffer does not begin at a multiple of 8"));
        }
        let count = usize::try_from(bytes.0.len).unwrap_or_default() / size_of::<AtomicU64>();
        Ok(Self { bytes, count })
    }
}
