//! Certificates that are not trusted, and how they come to be.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::AsyncWriteExt;
use tokio_rustls::TlsAcceptor;
use xetway_client::{Error, Http, Options, Secret, TransportKind};

use crate::server::{Answering, Reply, Server, serve};
use crate::{http, http_with, options};

/// A TLS server and the root that signed its certificate, in PEM.
pub(crate) struct Secure {
    pub(crate) server: Server,
    pub(crate) root: String,
}

pub(crate) async fn secure(name: &str) -> Secure {
    let root_key = KeyPair::generate().unwrap();
    let mut root = CertificateParams::new(Vec::new()).unwrap();
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    root.distinguished_name.push(DnType::CommonName, "Test root");
    let root_certificate = root.self_signed(&root_key).unwrap();
    let issuer = Issuer::new(root, root_key);
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec![name.to_owned()]).unwrap();
    let certificate = leaf.signed_by(&key, &issuer).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
        )
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let answering: Arc<Answering> = Arc::new(|_, _| Reply::new(200, &[], "secure"));
    let log = Arc::default();
    let server = Server::listen({
        let log = Arc::clone(&log);
        move |stream| {
            let (acceptor, answering, log) = (acceptor.clone(), Arc::clone(&answering), Arc::clone(&log));
            async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    serve(stream, answering, log).await;
                }
            }
        }
    })
    .await
    .with_log(log);
    Secure {
        server,
        root: root_certificate.pem(),
    }
}

impl Secure {
    pub(crate) fn url(&self) -> String {
        format!("https://localhost:{}/?sig=secret", self.server.port)
    }
}

pub(crate) async fn body_of(http: &Http, url: &str) -> xetway_client::Result<Vec<u8>> {
    let headers = [("authorization".to_owned(), Secret::from("Bearer t"))];
    let mut body = http.open(url, &headers, None).await?;
    let piece = body.next().await?.unwrap();
    Ok(piece.to_vec())
}

#[tokio::test]
async fn an_unknown_issuer_is_named_with_its_remedy() {
    let secure = secure("localhost").await;
    let error = body_of(&http(), &secure.url()).await.unwrap_err();
    let Error::Transport { kind, host, message } = &error else {
        panic!("{error}");
    };
    assert_eq!(
        (*kind, host.as_str()),
        (TransportKind::Tls, format!("localhost:{}", secure.server.port).as_str())
    );
    assert!(
        message.starts_with(&format!("the certificate of {host} is not trusted (unknown issuer)")),
        "{message}"
    );
    assert!(
        message.contains("--ca-bundle FILE") && message.contains("SSL_CERT_FILE"),
        "{message}"
    );
    assert!(!message.contains("secret"), "{message}");
    assert!(!error.is_retryable());
    assert!(secure.server.requests().is_empty());
}

#[tokio::test]
async fn a_root_may_come_from_the_option_or_from_the_environment() {
    let secure = secure("localhost").await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("root.pem");
    std::fs::write(&file, &secure.root).unwrap();
    let with_option = Options {
        ca_bundle: Some(file.clone()),
        ..options()
    };
    assert_eq!(
        body_of(&http_with(with_option, &[]), &secure.url()).await.unwrap(),
        b"secure"
    );
    for (variable, path) in [
        ("SSL_CERT_FILE", file.as_path()),
        ("REQUESTS_CA_BUNDLE", file.as_path()),
        ("REQUESTS_CA_BUNDLE", folder.path()),
        ("SSL_CERT_DIR", folder.path()),
    ] {
        let client = http_with(options(), &[(variable, path.display().to_string())]);
        assert_eq!(body_of(&client, &secure.url()).await.unwrap(), b"secure", "{variable}");
    }
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let secure = secure("elsewhere.example").await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("root.pem");
    std::fs::write(&file, &secure.root).unwrap();
    let client = http_with(
        Options {
            ca_bundle: Some(file),
            ..options()
        },
        &[],
    );
    let error = body_of(&client, &secure.url()).await.unwrap_err();
    assert_eq!(error.code(), "tls_untrusted");
    assert!(error.to_string().contains("another name"), "{error}");
}

#[tokio::test]
async fn plain_http_on_a_tls_address_is_not_a_matter_of_trust() {
    let server = Server::listen(|mut stream| async move {
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        let _ = stream.shutdown().await;
    })
    .await;
    let url = format!("https://localhost:{}/", server.port);
    let error = body_of(&http(), &url).await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("does not speak TLS: should its address begin with http://?"),
        "{error}"
    );
}
