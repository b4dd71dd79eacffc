//! Reads the settings of all sources, and checks those that depend on each other.

use std::fmt::Display;
use std::io::ErrorKind;

use anyhow::{Result, ensure};
use bytesize::ByteSize;
use clap::{Args, Command, FromArgMatches};
use wasmill_api::Listen;

use super::file::FileSettings;
use super::layer::Layer;
use super::value::shown_duration;
use super::{Given, Settings, TrustMode, file};
use crate::exit;

impl Settings {
    /// Reads the settings file, overlays environment and flags, and fills in defaults.
    pub(crate) fn load<T>(given: Given<T>) -> Result<Self> {
        Self::read_and_merge(given.layer).map_err(exit::settings_error)
    }

    /// Returns the declarations of all settings.
    pub(super) fn command() -> Command {
        Self::augment_args(Command::new("wasmill").no_binary_name(true))
    }

    fn read_and_merge(given: Layer) -> Result<Self> {
        let path = Self::parse(&given)?.config;
        // A link to nothing is read too, and fails: otherwise a file that is not mounted would mean defaults.
        let is_missing = || path.symlink_metadata().is_err_and(|error| error.kind() == ErrorKind::NotFound);
        let file =
            if !given.has("config") && is_missing() { FileSettings::default() } else { file::read(&path)? };
        Self::merge(given, file)
    }

    pub(super) fn merge(given: Layer, file: FileSettings) -> Result<Self> {
        let layer = given.over(file.layer);
        let mut settings = Self::parse(&layer)?;
        settings.secrets = file.secrets;
        settings.raise_maxima(|setting| layer.has(setting));
        settings.check()?;
        Ok(settings)
    }

    fn parse(layer: &Layer) -> Result<Self> {
        let command = Self::command().mut_args(|arg| arg.env(None));
        Ok(Self::from_arg_matches(&command.try_get_matches_from(layer.flags())?)?)
    }

    /// Raises the default of a maximum to the limit.
    fn raise_maxima(&mut self, is_set: impl Fn(&str) -> bool) {
        for (name, limit, max) in [
            ("memory_max", self.memory, &mut self.memory_max),
            ("result_max", self.result, &mut self.result_max),
            ("log_tail_max", self.log_tail, &mut self.log_tail_max),
            ("disk_max", self.disk, &mut self.disk_max),
            ("files_max", self.file_max, &mut self.files_max),
        ] {
            if !is_set(name) {
                *max = limit.max(*max);
            }
        }
    }

    fn check(&self) -> Result<()> {
        check_max("timeout", self.timeout, "timeout_max", Some(self.timeout_max), shown_duration)?;
        check_max("cpu", self.cpu.unwrap_or_default(), "cpu_max", self.cpu_max, shown_duration)?;
        let shown = |size: ByteSize| size.display().iec();
        check_max("memory", self.memory, "memory_total", self.memory_total, shown)?;
        check_max("memory", self.memory, "memory_max", Some(self.memory_max), shown)?;
        check_max("result", self.result, "result_max", Some(self.result_max), shown)?;
        check_max("log_tail", self.log_tail, "log_tail_max", Some(self.log_tail_max), shown)?;
        check_max("disk", self.disk, "disk_max", Some(self.disk_max), shown)?;
        check_max("file_max", self.file_max, "files_max", Some(self.files_max), shown)?;
        self.check_tls()?;
        self.check_trust()?;
        self.check_proxy()?;
        self.openid.check(self.auth)?;
        if let Some(debug) = &self.debug_listen {
            ensure!(
                debug.is_local() || self.debug_remote,
                "invalid value for --debug-listen: {debug} is not a loopback address and the debug port has no \
                 authentication; use {}, or allow it with --debug-remote",
                loopback(debug)
            );
        }
        Ok(())
    }

    fn check_trust(&self) -> Result<()> {
        let is_signed = self.plugin_trust == TrustMode::Signed;
        ensure!(
            !is_signed || self.plugin_keys.is_some(),
            "--plugin-trust signed needs --plugin-keys: the file with the public keys that may sign plugins"
        );
        ensure!(
            is_signed || self.plugin_keys.is_none(),
            "--plugin-keys needs --plugin-trust signed: otherwise nothing is verified with these keys"
        );
        Ok(())
    }

    fn check_proxy(&self) -> Result<()> {
        ensure!(
            self.proxy_user_header.is_none() || !self.trust_proxy.is_empty(),
            "--proxy-user-header needs --trust-proxy: the addresses of the proxies whose headers count"
        );
        ensure!(
            self.proxy_groups_header.is_none() || self.proxy_user_header.is_some(),
            "--proxy-groups-header needs --proxy-user-header: groups are those of a user"
        );
        Ok(())
    }

    fn check_tls(&self) -> Result<()> {
        ensure!(
            self.hsts.is_none() || self.tls_cert.is_some(),
            "--hsts needs --tls-cert: browsers take it from encrypted answers only; a proxy that encrypts sends its own"
        );
        let (given, missing) = match (&self.tls_cert, &self.tls_key) {
            (Some(_), None) => ("--tls-cert", "--tls-key"),
            (None, Some(_)) => ("--tls-key", "--tls-cert"),
            (None, None) => return Ok(()),
            (Some(_), Some(_)) => {
                ensure!(
                    matches!(self.listen, Listen::Tcp(_)),
                    "invalid value for --tls-cert: a Unix socket is not encrypted; leave out --tls-cert and --tls-key, \
                     or listen on an address"
                );
                return Ok(());
            }
        };
        anyhow::bail!("{given} needs {missing}: a certificate and its private key belong together")
    }
}

/// Returns the same port on loopback.
fn loopback(listen: &Listen) -> String {
    match listen {
        Listen::Tcp(address) => format!("127.0.0.1:{}", address.port()),
        Listen::Unix(_) => listen.to_string(),
    }
}

/// Fails if a setting is greater than its maximum.
fn check_max<T: PartialOrd + Copy, S: Display>(
    name: &str,
    value: T,
    max_name: &str,
    max: Option<T>,
    shown: impl Fn(T) -> S,
) -> Result<()> {
    let Some(max) = max.filter(|max| value > *max) else { return Ok(()) };
    let flag = name.replace('_', "-");
    anyhow::bail!("invalid value for --{flag}: {} is more than {max_name} ({})", shown(value), shown(max));
}
