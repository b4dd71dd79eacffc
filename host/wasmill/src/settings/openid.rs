//! The settings of OpenID Connect, a part of all settings.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::Args;
use wasmill_egress::BaseUrl;

use super::choices::{AuthMode, SigningAlgorithm, UserClaim};

/// Where the issuer sends browsers back to, below the public URL.
const CALLBACK: &str = "/ui/login/callback";

/// How people sign in at an issuer.
#[derive(Args, Debug)]
pub(crate) struct OpenIdSettings {
    /// Issuer of OpenID Connect that people sign in at for the dashboard, the URL to the letter, such as
    /// https://id.example.org/realms/staff; the keys file says under `person` what they may do [default: none]
    #[arg(long, env, value_name = "URL", value_parser = parse_url)]
    pub(crate) openid_issuer: Option<String>,

    /// Name of this server at the issuer [default: none]
    #[arg(long, env, value_name = "ID")]
    pub(crate) openid_client_id: Option<String>,

    /// File with the secret of this server at the issuer [default: none, a public client]
    #[arg(long, env, value_name = "FILE")]
    pub(crate) openid_client_secret_file: Option<PathBuf>,

    /// URL of this server as browsers see it, such as https://tasks.example.org; the issuer has to allow the redirect to
    /// /ui/login/callback below it [default: none]
    #[arg(long, env, value_name = "URL", value_parser = parse_url)]
    pub(crate) openid_public_url: Option<String>,

    /// Claim that names the user in a `person` entry
    #[arg(long, env, value_name = "CLAIM", default_value = "sub")]
    pub(crate) openid_user: UserClaim,

    /// Claim with the groups of the user, for `member_of` in a `person` entry, such as groups [default: none]
    #[arg(long, env, value_name = "CLAIM")]
    pub(crate) openid_groups: Option<String>,

    /// Scopes to ask for besides openid, separated by commas, such as email,groups [default: email for
    /// `openid_user` = "email", else none]
    #[arg(long, env, value_name = "SCOPE", value_delimiter = ',', value_parser = parse_scope)]
    pub(crate) openid_scopes: Vec<String>,

    /// Signatures of tokens to take, separated by commas
    #[arg(long, env, value_name = "ALGORITHM", value_delimiter = ',', default_value = "RS256")]
    pub(crate) openid_algorithms: Vec<SigningAlgorithm>,

    /// Name of the issuer on the page where people sign in
    #[arg(long, env, value_name = "NAME", default_value = "OpenID Connect", value_parser = super::ui::parse_ui_name)]
    pub(crate) openid_name: String,
}

impl OpenIdSettings {
    /// Returns where the issuer sends browsers back to.
    pub(crate) fn redirect_uri(&self) -> String {
        format!("{}{CALLBACK}", self.openid_public_url.as_deref().unwrap_or_default().trim_end_matches('/'))
    }

    pub(super) fn check(&self, auth: AuthMode) -> Result<()> {
        if self.openid_issuer.is_none() {
            let given = [
                ("--openid-client-id", self.openid_client_id.is_some()),
                ("--openid-client-secret-file", self.openid_client_secret_file.is_some()),
                ("--openid-public-url", self.openid_public_url.is_some()),
                ("--openid-groups", self.openid_groups.is_some()),
            ];
            let given = given.iter().find(|(_, is_given)| *is_given).map_or("", |(flag, _)| flag);
            ensure!(given.is_empty(), "{given} needs --openid-issuer: nobody signs in without it");
            return Ok(());
        }
        ensure!(
            self.openid_client_id.is_some(),
            "--openid-issuer needs --openid-client-id: the name of this server at the issuer"
        );
        ensure!(
            self.openid_public_url.is_some(),
            "--openid-issuer needs --openid-public-url: where browsers come back to"
        );
        ensure!(
            auth != AuthMode::None,
            "--openid-issuer and --auth none exclude each other: nobody signs in where everyone may do everything"
        );
        Ok(())
    }
}

/// Parses a URL whose requests nobody can read on the way: https, or http on this machine.
fn parse_url(text: &str) -> Result<String, String> {
    let has_scheme = text.starts_with("https://") || text.starts_with("http://");
    let url: BaseUrl = text.parse()?;
    let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
    if !has_scheme || !is_plain {
        return Err("it must be a URL that starts with https://".to_owned());
    }
    let host = &url.endpoint.host;
    let is_local =
        host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|host| host.is_loopback());
    if url.endpoint.tls || is_local {
        Ok(text.to_owned())
    } else {
        Err("it must start with https://: http:// is for this machine alone".to_owned())
    }
}

fn parse_scope(text: &str) -> Result<String, String> {
    let is_scope = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
    if !text.is_empty() && text.bytes().all(is_scope) {
        Ok(text.to_owned())
    } else {
        Err("a scope has visible characters only".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_is_reached_over_https_or_on_this_machine() {
        for url in [
            "https://id.example.org",
            "https://id.example.org/a/",
            "http://127.0.0.1:9000",
            "http://localhost:9000/a",
        ] {
            assert_eq!(parse_url(url).as_deref(), Ok(url));
        }
        for url in [
            "id.example.org",
            "http://id.example.org",
            "http://10.0.0.7",
            "https://",
            "https://a?b",
            "https://a#b",
            "ftp://a",
            "https://a@b",
        ] {
            assert!(parse_url(url).is_err(), "{url}");
        }
    }
}
