//! Whom to trust: the system's roots, and whatever the environment and `--ca-bundle` add to them.
//!
//! Added, never replaced: a proxy that intercepts some hosts and not others needs both. Reading the
//! system's store under Windows and macOS is left to `rustls-native-certs`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::error::{Error, Result};

/// Looks an environment variable up. A parameter, so that tests need not change the process's own.
pub(crate) type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Variables that name a PEM file.
const FILE_VARIABLES: [&str; 2] = ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"];

/// Variable that names folders of PEM files.
const FOLDER_VARIABLE: &str = "SSL_CERT_DIR";

/// Where systems keep their bundle; read when the environment hides it from `rustls-native-certs`.
const SYSTEM_BUNDLES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/var/lib/ca-certificates/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Make the TLS settings of all connections: HTTP/1.1, TLS 1.2 and 1.3.
pub(crate) fn client_config(ca_bundle: Option<&Path>, env: Env<'_>) -> Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::Config {
            what: "TLS",
            message: error.to_string(),
        })?
        .with_root_certificates(roots(ca_bundle, env)?)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn roots(ca_bundle: Option<&Path>, env: Env<'_>) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(system_certificates());
    for variable in FILE_VARIABLES {
        if let Some(path) = named(env, variable) {
            // `requests` takes a folder in its variable too.
            if path.is_dir() {
                add_folder(&mut roots, variable, &path)?;
            } else {
                add_file(&mut roots, variable, &path)?;
            }
        }
    }
    if let Some(folders) = env(FOLDER_VARIABLE).filter(|folders| !folders.is_empty()) {
        for folder in std::env::split_paths(&folders) {
            add_folder(&mut roots, FOLDER_VARIABLE, &folder)?;
        }
    }
    if let Some(path) = ca_bundle {
        add_file(&mut roots, "--ca-bundle", path)?;
    }
    Ok(roots)
}

fn named(env: Env<'_>, variable: &str) -> Option<PathBuf> {
    env(variable).filter(|path| !path.is_empty()).map(PathBuf::from)
}

fn system_certificates() -> Vec<CertificateDer<'static>> {
    let hidden = std::env::var_os("SSL_CERT_FILE").is_some() || std::env::var_os("SSL_CERT_DIR").is_some();
    if hidden {
        for bundle in SYSTEM_BUNDLES {
            let found = rustls_native_certs::load_certs_from_paths(Some(Path::new(bundle)), None).certs;
            if !found.is_empty() {
                return found;
            }
        }
    }
    rustls_native_certs::load_native_certs().certs
}

fn add_file(roots: &mut RootCertStore, what: &'static str, path: &Path) -> Result<()> {
    let bad = |reason: String| Error::Config {
        what,
        message: format!("cannot use {} as a file of certificates: {reason}", path.display()),
    };
    let pem = std::fs::read(path).map_err(|error| bad(error.to_string()))?;
    let certificates = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| bad(format!("it is not PEM: {error}")))?;
    let (added, _) = roots.add_parsable_certificates(certificates);
    if added == 0 {
        return Err(bad("it holds no certificate in PEM form".to_owned()));
    }
    Ok(())
}

/// Add every certificate in a folder; other files in it are passed over.
fn add_folder(roots: &mut RootCertStore, what: &'static str, folder: &Path) -> Result<()> {
    let entries = std::fs::read_dir(folder).map_err(|error| Error::Config {
        what,
        message: format!("cannot read the folder {}: {error}", folder.display()),
    })?;
    for entry in entries.flatten() {
        if let Ok(pem) = std::fs::read(entry.path()) {
            roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&pem).flatten());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{client_config, roots};

    fn no_env(_: &str) -> Option<String> {
        None
    }

    #[test]
    fn says_which_setting_names_an_unusable_file() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("missing.pem");
        let empty = folder.path().join("empty.pem");
        std::fs::write(&empty, "no certificate").unwrap();
        let broken = folder.path().join("broken.pem");
        std::fs::write(&broken, "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n").unwrap();
        for path in [&missing, &empty, &broken] {
            let error = client_config(Some(path), &no_env).unwrap_err();
            assert_eq!(error.code(), "bad_setting");
            assert!(error.to_string().starts_with("--ca-bundle: cannot use "), "{error}");
            for variable in ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"] {
                let env = |name: &str| (name == variable).then(|| path.display().to_string());
                let error = client_config(None, &env).unwrap_err();
                assert!(error.to_string().starts_with(variable), "{error}");
            }
        }
        let env = |name: &str| (name == "SSL_CERT_DIR").then(|| missing.display().to_string());
        assert!(
            client_config(None, &env)
                .unwrap_err()
                .to_string()
                .starts_with("SSL_CERT_DIR")
        );
    }

    #[test]
    fn adds_to_the_roots_of_the_system() {
        let system = roots(None, &no_env).unwrap().len();
        let folder = tempfile::tempdir().unwrap();
        for name in ["one", "two", "three"] {
            let certificate = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
            std::fs::write(folder.path().join(format!("{name}.pem")), certificate.cert.pem()).unwrap();
        }
        std::fs::write(folder.path().join("README"), "text").unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let env = |name: &str| match name {
            "SSL_CERT_FILE" => Some(path("one.pem")),
            "REQUESTS_CA_BUNDLE" => Some(path("two.pem")),
            _ => None,
        };
        let third = folder.path().join("three.pem");
        assert_eq!(roots(Some(&third), &env).unwrap().len(), system + 3);
        let env = |name: &str| (name == "SSL_CERT_DIR").then(|| folder.path().display().to_string());
        assert_eq!(roots(None, &env).unwrap().len(), system + 3);
        assert!(Path::new(&path("README")).exists());
    }
}
