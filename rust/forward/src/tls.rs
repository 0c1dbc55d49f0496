//! Whom to trust: the system's roots, or one upstream's own bundle instead.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::error::{Error, Result};

/// Make the TLS settings of connections that speak `protocol`, as ALPN names it.
pub(crate) fn client_config(ca_bundle: Option<&[u8]>, protocol: &[u8]) -> Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let roots = match ca_bundle {
        Some(pem) => bundled(pem)?,
        None => system(),
    };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::Setting {
            what: "TLS",
            message: error.to_string(),
        })?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    Ok(config)
}

fn system() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

fn bundled(pem: &[u8]) -> Result<RootCertStore> {
    let bad = |message: String| Error::Setting {
        what: "ca_bundle",
        message,
    };
    let certificates = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| bad(format!("is not PEM: {error}")))?;
    let mut roots = RootCertStore::empty();
    if roots.add_parsable_certificates(certificates).0 == 0 {
        return Err(bad("holds no certificate in PEM form".to_owned()));
    }
    Ok(roots)
}
