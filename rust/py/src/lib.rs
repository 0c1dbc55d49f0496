//! The extension module `xetway._native`: converts, releases the interpreter lock, maps errors.
//!
//! No decisions here: the codec is `xetway-core`, the files are `xetway-store`, the exceptions are
//! defined in `xetway.errors`. User documentation is in `_native.pyi`,
//! `_native_transfer.pyi` and `_native_forward.pyi`.
#![deny(unsafe_code)]
#![allow(clippy::needless_pass_by_value, reason = "arguments arrive from Python by value")]

mod buffer;
mod cache;
mod chunker;
mod codec;
mod credentials;
mod digest;
mod errors;
mod exclusive;
mod forward;
mod future;
mod hash;
mod http;
mod mirror;
mod pieces;
mod plan;
mod process;
mod progress;
mod reader;
mod runtime;
mod seal;
mod shard;
mod shared;
mod store;
mod stream;
mod transfer;
mod uploader;
mod writer;
mod xorb;

use pyo3::prelude::*;

/// Needs no interpreter lock: classes are frozen, and what they share has locks or atomics of its own.
#[pymodule(gil_used = false)]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    hash::register(module)?;
    chunker::register(module)?;
    codec::register(module)?;
    xorb::register(module)?;
    shard::register(module)?;
    plan::register(module)?;
    seal::register(module)?;
    transfer::register(module)?;
    module.add_class::<http::HttpClient>()?;
    module.add_class::<credentials::Credentials>()?;
    module.add_class::<stream::ByteStream>()?;
    module.add_class::<uploader::Uploader>()?;
    forward::register(module)?;
    module.add_class::<cache::Cache>()?;
    module.add_class::<mirror::Mirror>()?;
    module.add_class::<store::XorbStore>()?;
    module.add_class::<reader::ByteReader>()?;
    module.add_class::<reader::Sha256Reader>()?;
    module.add_class::<writer::XorbWriter>()?;
    module.add_class::<shared::SharedTable>()?;
    module.add_class::<writer::FileIngest>()
}
