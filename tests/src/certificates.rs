//! Certificates for servers and clients of tests.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};

/// Who signs certificates. All of them have the same name, and different keys.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A certificate and its private key, as PEM.
pub struct Certificate {
    /// The certificate.
    pub pem: String,
    /// The key.
    pub key: String,
}

impl Authority {
    /// A new one.
    #[expect(clippy::new_without_default, reason = "it does more than a default")]
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let own = params.self_signed(&key).expect("its own certificate");
        Self {
            pem: pem("CERTIFICATE", own.der()),
            issuer: Issuer::new(params, key),
        }
    }

    /// Its own certificate, as PEM.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A certificate for a host name or address.
    pub fn certify(&self, host: &str) -> Certificate {
        self.certify_between(host, 2020, 4000)
    }

    /// A certificate that is valid between the beginnings of two years.
    pub fn certify_between(&self, host: &str, first: i32, end: i32) -> Certificate {
        let mut params = CertificateParams::new([host.to_owned()]).expect("a host");
        // A certificate with its authority's name would count as signed by itself.
        params.distinguished_name.push(DnType::CommonName, host);
        params.not_before = date_time_ymd(first, 1, 1);
        params.not_after = date_time_ymd(end, 1, 1);
        let key = KeyPair::generate().expect("a key");
        let signed = params.signed_by(&key, &self.issuer).expect("a certificate");
        Certificate {
            pem: pem("CERTIFICATE", signed.der()),
            key: pem("PRIVATE KEY", &key.serialize_der()),
        }
    }
}

fn pem(kind: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: String = text
        .as_bytes()
        .chunks(64)
        .map(|line| String::from_utf8_lossy(line).into_owned() + "\n")
        .collect();
    format!("-----BEGIN {kind}-----\n{lines}-----END {kind}-----\n")
}
