//! The paths that no plugin may be granted: what this server reads, keeps secret or executes.

use std::ffi::OsString;
use std::path::Path;

use wasmill_runtime::ProtectedPath;

use crate::settings::Settings;

/// Variables that name certificate files of the trace collector.
const CERTIFICATE_VARIABLES: [(&str, &str); 2] = [
    ("OTEL_EXPORTER_OTLP_CERTIFICATE", "the file OTEL_EXPORTER_OTLP_CERTIFICATE"),
    ("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "the file OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE"),
];

/// Files that configure the name resolution of the system.
const RESOLVER_FILES: [(&str, &str); 3] = [
    ("/etc/hosts", "the hosts file of the resolver"),
    ("/etc/resolv.conf", "the settings of the resolver"),
    ("/etc/nsswitch.conf", "the name service switch of the resolver"),
];

/// Returns the paths that no plugin may be granted: files that this server reads, keeps secret or executes.
pub(super) fn protected_paths(settings: &Settings) -> Vec<ProtectedPath> {
    let path = |path: &Path, what, is_secret| ProtectedPath { path: path.to_owned(), what, is_secret };
    let mut protected = vec![
        path(&settings.data, "the data folder of this server", true),
        path(&settings.config, "the settings file of this server", false),
    ];
    protected.extend(settings.http_roots.iter().map(|file| path(file, "the file http_roots", false)));
    protected.extend(settings.database_ca.iter().map(|file| path(file, "the file database_ca", false)));
    let passwords = settings.database_password_file.iter();
    protected.extend(passwords.map(|file| path(file, "the file database_password_file", true)));
    let secrets = settings.webhook_secret_file.iter();
    protected.extend(secrets.map(|file| path(file, "the file webhook_secret_file", true)));
    protected.extend(settings.tls_cert.iter().map(|file| path(file, "the file tls_cert", false)));
    protected.extend(settings.tls_key.iter().map(|file| path(file, "the file tls_key", true)));
    protected.extend(settings.audit_file.iter().map(|file| path(file, "the file audit_file", true)));
    protected.extend(settings.keys_file.iter().map(|file| path(file, "the file keys_file", true)));
    let secrets = settings.openid.openid_client_secret_file.iter();
    protected.extend(secrets.map(|file| path(file, "the file openid_client_secret_file", true)));
    let secrets = settings.secrets.secrets();
    protected.extend(secrets.files().map(|file| path(file, "the file of a secret", true)));
    protected.extend(settings.plugin_keys.iter().map(|file| path(file, "the file plugin_keys", false)));
    protected.extend(certificate_files(&|name| std::env::var_os(name)));
    protected.extend(RESOLVER_FILES.iter().map(|(file, what)| path(Path::new(file), what, false)));
    let own = std::env::current_exe();
    protected.extend(own.iter().map(|file| path(file, "the program of this server", false)));
    protected
}

/// Returns what `run` and `plugin check` protect: the same, and the plugins folder against writes. A folder that is no
/// server's data folder, though it has the name of one, is not protected.
pub(crate) fn protected_beside_a_server(settings: &Settings) -> Vec<ProtectedPath> {
    let mut protected = protected_paths(settings);
    if !settings.data.join("wasmill.db").exists() {
        protected.retain(|path| path.path != settings.data);
    }
    let (path, what) = (settings.plugins.clone(), "the plugins folder");
    protected.push(ProtectedPath { path, what, is_secret: false });
    protected
}

/// Returns the certificate files that the environment names.
fn certificate_files(read: &dyn Fn(&str) -> Option<OsString>) -> Vec<ProtectedPath> {
    let path = |file: OsString, what| ProtectedPath { path: file.into(), what, is_secret: false };
    let set = |(name, what): &(&str, &'static str)| {
        read(name).filter(|file| !file.is_empty()).map(|file| path(file, *what))
    };
    CERTIFICATE_VARIABLES.iter().filter_map(set).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificate_files_named_by_the_environment_are_protected() {
        let set = |name: &str| match name {
            "OTEL_EXPORTER_OTLP_CERTIFICATE" => Some("/work/ca.pem".into()),
            "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE" => Some(OsString::new()),
            _ => None,
        };
        let protected = certificate_files(&set);
        assert_eq!(protected.len(), 1, "{protected:?}");
        assert_eq!(protected[0].path, Path::new("/work/ca.pem"));
    }
}
