//! TLS to Redis: what the application gives for it, checked before there is a connection, and what
//! goes wrong with it, in words.

use std::error::Error as _;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use redis::{Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, RedisError, TlsCertificates};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::CertifiedKey;
use rustls::{AlertDescription, CertificateError, Error, RootCertStore};

use super::{Fault, fault};

/// What the application gives, as PEM. It has no `Debug`, which could show the key.
#[derive(Clone, Default)]
pub(super) struct Tls {
    /// The authorities that count instead of the system's.
    pub(super) ca: Option<Vec<u8>>,
    pub(super) identity: Option<Identity>,
}

/// What we show to a server that asks who we are.
#[derive(Clone)]
pub(super) struct Identity {
    pub(super) certificate: Vec<u8>,
    pub(super) key: Vec<u8>,
}

impl Tls {
    /// A client of the server, which was not reached yet.
    pub(super) fn client(&self, info: ConnectionInfo) -> Result<Client, Fault> {
        let ConnectionAddr::TcpTls { host, .. } = info.addr() else {
            return self.plain_client(info);
        };
        if ServerName::try_from(host.as_str()).is_err() {
            return Err(Fault::wrong(
                "the host in its URL is no name that a certificate can be for",
            ));
        }
        self.check()?;
        let certificates = TlsCertificates {
            client_tls: self.identity.as_ref().map(|identity| ClientTlsConfig {
                client_cert: identity.certificate.clone(),
                client_key: identity.key.clone(),
            }),
            root_cert: self.ca.clone(),
        };
        Client::build_with_tls(info, certificates)
            .map_err(|_| Fault::wrong("its certificates or its key cannot be read"))
    }

    fn plain_client(&self, info: ConnectionInfo) -> Result<Client, Fault> {
        if self.ca.is_some() || self.identity.is_some() {
            return Err(Fault::wrong(
                "it was given certificates, and its URL does not ask for TLS: write `rediss://`",
            ));
        }
        Client::open(info).map_err(|error| fault::of(&error, Duration::ZERO))
    }

    fn check(&self) -> Result<(), Fault> {
        let provider = provider();
        if let Some(ca) = &self.ca {
            check_authorities(ca)?;
        }
        match &self.identity {
            Some(identity) => identity.check(&provider),
            None => Ok(()),
        }
    }
}

impl Identity {
    fn check(&self, provider: &CryptoProvider) -> Result<(), Fault> {
        let chain = certificates(&self.certificate, "tls_client_certificate")?;
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|_| {
            Fault::wrong(
                "what `tls_client_certificate` was given holds no private key that can be read: it \
                 takes the text of a PEM file, not its path, and the key must not be encrypted",
            )
        })?;
        match CertifiedKey::from_der(chain, key, provider) {
            Ok(_) => Ok(()),
            Err(Error::InconsistentKeys(_)) => Err(Fault::wrong(
                "the private key that `tls_client_certificate` was given belongs to another \
                 certificate",
            )),
            Err(_) => Err(Fault::wrong(
                "the certificate or the private key that `tls_client_certificate` was given cannot \
                 be used: it takes keys of RSA, ECDSA or Ed25519",
            )),
        }
    }
}

/// What computes for TLS in this process. redis-rs takes the one that is set up for the process, and
/// would panic at the first connection where there is none.
fn provider() -> Arc<CryptoProvider> {
    if CryptoProvider::get_default().is_none() {
        // Fails where somebody was faster, whose provider is as good.
        let _ = ring::default_provider().install_default();
    }
    let installed = CryptoProvider::get_default().cloned();
    installed.unwrap_or_else(|| Arc::new(ring::default_provider()))
}

fn check_authorities(pem: &[u8]) -> Result<(), Fault> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(pem, "tls_ca")? {
        store.add(certificate).map_err(|_| {
            Fault::wrong("what `tls_ca` was given is no certificate of an authority")
        })?;
    }
    Ok(())
}

fn certificates(pem: &[u8], method: &str) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(Fault::wrong(format!(
            "what `{method}` was given holds no certificate that can be read: it takes the text of a \
             PEM file, not its path"
        ))),
    }
}

/// What an error means while a connection is made. `waited` is the time-out that applied.
pub(super) fn fault(error: &RedisError, waited: Duration) -> Fault {
    match cause(error) {
        Some(Error::InvalidCertificate(why)) => Fault::wrong(refused(why)),
        Some(Error::AlertReceived(alert)) => of_alert(*alert),
        Some(Error::InvalidMessage(_)) => Fault::wrong(
            "what answers there does not speak TLS: check the port, or write `redis://`",
        ),
        Some(other) => Fault::away(format!("TLS could not be set up: {other}")),
        None if error.is_timeout() => Fault::Late(format!(
            "no answer within {waited:?} while TLS was set up: is TLS spoken at that port?"
        )),
        None => fault::of(error, waited),
    }
}

/// As [`fault`], where the server had taken the connection.
pub(super) fn fault_of_handshake(error: &RedisError, waited: Duration) -> Fault {
    if cause(error).is_none() && error.is_connection_dropped() {
        return Fault::away(
            "it closed the connection while TLS was set up: it asks for another client certificate \
             (`.tls_client_certificate(…)`), speaks no TLS at that port, or takes no more clients",
        );
    }
    fault(error, waited)
}

/// What rustls said, which redis-rs passes on by itself or inside an I/O error.
fn cause(error: &RedisError) -> Option<&Error> {
    let shared: &Arc<dyn std::error::Error + Send + Sync> = error.source()?.downcast_ref()?;
    let inner = shared
        .downcast_ref::<io::Error>()
        .and_then(|error| error.get_ref())
        .and_then(|error| error.downcast_ref());
    inner.or_else(|| shared.downcast_ref())
}

fn refused(why: &CertificateError) -> String {
    use CertificateError as Why;
    match why {
        Why::Expired | Why::ExpiredContext { .. } => {
            "its certificate has expired: renew it, and check this machine's clock".to_owned()
        }
        Why::NotValidYet | Why::NotValidYetContext { .. } => {
            "its certificate is not valid yet: check the clocks of both machines".to_owned()
        }
        // The latter where two authorities have the same name.
        Why::UnknownIssuer | Why::BadSignature => {
            "its certificate is of an authority that is not trusted: give that \
                               authority's certificate to `.tls_ca(pem)`"
                .to_owned()
        }
        Why::NotValidForName | Why::NotValidForNameContext { .. } => {
            "its certificate is for another host than the one in the URL".to_owned()
        }
        why => format!("its certificate cannot be trusted: {why:?}"),
    }
}

fn of_alert(alert: AlertDescription) -> Fault {
    use AlertDescription as Alert;
    match alert {
        Alert::CertificateRequired => Fault::wrong(
            "it asks for a client certificate: give one to `.tls_client_certificate(…)`",
        ),
        Alert::UnknownCA
        | Alert::BadCertificate
        | Alert::UnsupportedCertificate
        | Alert::CertificateRevoked
        | Alert::CertificateExpired
        | Alert::CertificateUnknown
        | Alert::DecryptError
        | Alert::AccessDenied => Fault::wrong(format!(
            "it refuses the client certificate that `.tls_client_certificate(…)` was given: {alert:?}"
        )),
        _ => Fault::away(format!("it ended the set-up of TLS: {alert:?}")),
    }
}
