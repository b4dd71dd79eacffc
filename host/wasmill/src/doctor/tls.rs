//! Checks the certificate of the server: that it fits its key, when it ends, and who can read the key.

use wasmill_api::{Tls, TlsFiles};
use wasmill_model::{Clock, SystemClock, TimeDelta};

use super::keys::readable;
use super::report::Check;
use crate::settings::Settings;

const NAME: &str = "certificate";

/// A certificate that ends within this time is a warning.
const SOON: TimeDelta = TimeDelta::days(14);

pub(super) fn checks(settings: &Settings) -> Vec<Check> {
    let Some(files) = settings.tls_files() else { return Vec::new() };
    let mut checks = vec![certificate(&files)];
    checks.extend(readable("certificate key", &files.key));
    checks
}

fn certificate(files: &TlsFiles) -> Check {
    let tls = match Tls::new(files.clone()) {
        Ok(tls) => tls,
        Err(error) => {
            let fix = "correct --tls-cert and --tls-key, or the files that they name";
            return Check::fail(NAME, error.to_string(), "serve does not start", fix);
        }
    };
    let (begins, now, ends) = (tls.begins(), SystemClock.now(), tls.ends());
    let path = files.certificate.display();
    let found = |what: &str| format!("{path} {what} {}", ends.format("%Y-%m-%d %H:%M"));
    let renew = "renew it and replace both files; a running server follows within a second";
    if now < begins {
        let found = format!("{path} is valid from {}", begins.format("%Y-%m-%d %H:%M"));
        return Check::warn(NAME, found, "clients refuse it until then", "check the clock of this machine");
    }
    match ends - now {
        left if left <= TimeDelta::zero() => {
            Check::warn(NAME, found("has expired at"), "clients refuse it", renew)
        }
        left if left <= SOON => Check::warn(NAME, found("ends at"), "clients refuse it from then on", renew),
        _ => Check::ok(NAME, found("ends at")),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;
    use crate::doctor::report::State;

    /// Writes a certificate that ends at the start of this year, and its key.
    fn write(folder: &Path, year: i32) -> TlsFiles {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(year, 1, 1);
        let files = TlsFiles { certificate: folder.join("cert.pem"), key: folder.join("key.pem") };
        std::fs::write(&files.certificate, params.self_signed(&key).unwrap().pem()).unwrap();
        std::fs::write(&files.key, key.serialize_pem()).unwrap();
        files
    }

    #[test]
    fn a_certificate_fails_if_it_cannot_be_used_and_warns_when_it_has_expired() {
        let folder = tempfile::tempdir().unwrap();
        let mut files = write(folder.path(), 4000);
        assert_eq!(certificate(&files).state(), State::Ok);
        assert_eq!(certificate(&write(folder.path(), 2001)).state(), State::Warn);
        files.key = folder.path().join("missing.pem");
        assert_eq!(certificate(&files).state(), State::Fail);
    }
}
