//! Bytes in: any object with the buffer protocol, borrowed without a copy.
//!
//! The only `unsafe` of the extension is here.
#![allow(unsafe_code)]

use pyo3::buffer::PyUntypedBuffer;
use pyo3::exceptions::PyBufferError;
use pyo3::prelude::*;

/// The bytes of a C-contiguous buffer of any item type, which stays exported until this is dropped.
pub(crate) struct Bytes(PyUntypedBuffer);

impl Bytes {
    /// Return the bytes. They may be used without the interpreter lock.
    pub(crate) fn as_slice(&self) -> &[u8] {
        let length = self.0.len_bytes();
        if length == 0 {
            // An exporter of nothing may give a null pointer.
            return &[];
        }
        // SAFETY: `extract` checked that the buffer is C-contiguous, so `buf_ptr` points to `len_bytes`
        // initialised bytes. The export is held by `self`: the exporter keeps the memory in place and
        // alive until it is released, which the lifetime of the slice prevents. What the type system
        // can't rule out is that Python code writes to a mutable buffer while we read it without the
        // interpreter lock. As with `hashlib`, that is the caller's mistake and documented as one; its
        // result is a value computed from mixed bytes: the code that reads them checks every length and
        // index it derives from them, and keeps no reference to them after the call.
        unsafe { std::slice::from_raw_parts(self.0.buf_ptr().cast::<u8>().cast_const(), length) }
    }
}

impl<'py> FromPyObject<'_, 'py> for Bytes {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let buffer = PyUntypedBuffer::get(&object)?;
        if !buffer.is_c_contiguous() {
            return Err(PyBufferError::new_err(
                "the buffer is not C-contiguous: pass a contiguous copy, for numpy `numpy.ascontiguousarray(array)`",
            ));
        }
        Ok(Self(buffer))
    }
}
