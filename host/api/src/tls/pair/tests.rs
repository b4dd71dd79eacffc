//! Files that are pairs, and files that are not.

use std::path::PathBuf;

use rcgen::{CertificateParams, KeyPair};

use super::*;

/// A folder with a certificate and its key.
struct Files {
    folder: tempfile::TempDir,
    certificate: String,
    key: String,
}

impl Files {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        Self { folder: tempfile::tempdir().unwrap(), certificate, key: key.serialize_pem() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Reads files with these texts.
    fn read(&self, certificate: &str, key: &str) -> Result<Pair, String> {
        let files = TlsFiles { certificate: self.path("cert.pem"), key: self.path("key.pem") };
        std::fs::write(&files.certificate, certificate).unwrap();
        std::fs::write(&files.key, key).unwrap();
        Pair::read(&files).map_err(|error| error.to_string())
    }
}

#[test]
fn a_chain_and_its_key_are_a_pair() {
    let (files, other) = (Files::new(), Files::new());
    let chain = format!("{}{}", files.certificate, other.certificate);
    let pair = files.read(&chain, &files.key).unwrap();
    assert_eq!(pair.certified.cert.len(), 2);
    // One file may have both.
    let both = format!("{}{}", files.key, files.certificate);
    assert!(files.read(&both, &both).is_ok());
}

#[test]
fn files_that_are_no_pair_say_why_and_never_what_is_in_the_key() {
    let (files, other) = (Files::new(), Files::new());
    let (half, half_key) = (files.certificate.len() / 2, files.key.len() / 2);
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let no_key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    for (certificate, key, why) in [
        (other.certificate.as_str(), files.key.as_str(), "does not belong to the key"),
        (&format!("{}{}", other.certificate, files.certificate), &files.key, "comes first"),
        (&files.certificate[..half], &files.key, "cert.pem"),
        (&files.certificate, &files.key[..half_key], "key.pem"),
        ("", &files.key, "cert.pem contains no certificate"),
        (&files.certificate, "", "key.pem contains no private key"),
        (&files.certificate, &files.certificate, "key.pem contains no private key"),
        (&files.certificate, encrypted, "encrypted"),
        (garbage, &files.key, "damaged"),
        (&files.certificate, no_key, "not supported"),
    ] {
        let error = files.read(certificate, key).expect_err(why);
        assert!(error.contains(why), "{error}");
        assert!(
            !files.key.lines().any(|line| line.len() > 20 && !line.starts_with('-') && error.contains(line))
        );
    }
    let missing = TlsFiles { certificate: files.path("cert.pem"), key: files.path("none.pem") };
    std::fs::write(&missing.certificate, &files.certificate).unwrap();
    let error = Pair::read(&missing).unwrap_err().to_string();
    assert!(error.contains("failed to read") && error.contains("none.pem"), "{error}");
}
