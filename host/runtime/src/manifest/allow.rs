//! The `[allow]` table of a manifest, parsed strictly, so that it never allows more than intended.

mod host_and_port;
mod tcp;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use wasmill_egress::{Endpoint, normalize_host};

use self::host_and_port::host_and_port;
use self::tcp::TcpEntry;
use crate::folders::granted::GrantedFolder;
use crate::folders::rule::{DirRule, is_plain_or_relative};
use crate::manifest::scratch::Scratch;
use crate::manifest::table::Table;
use crate::plugin::config::{HttpRule, Permissions};
use crate::secrets::{SecretForm, SecretRule, is_secret_name};

/// The table as written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Allow {
    http: Vec<String>,
    tcp: Vec<TcpEntry>,
    env: BTreeMap<String, String>,
    dirs: Vec<Table<Dir>>,
    scratch: Option<Scratch>,
    secrets: BTreeMap<String, Table<SecretTable>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct SecretTable {
    to: Vec<String>,
    r#in: Option<String>,
    reveal: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Dir {
    host: PathBuf,
    guest: String,
    #[serde(default)]
    write: bool,
}

impl Allow {
    /// Returns the granted host folders, unchecked.
    pub(super) fn hosts(self) -> Vec<PathBuf> {
        self.dirs.into_iter().map(|Table(dir)| dir.host).collect()
    }

    /// Returns the host folders granted for writing, unchecked.
    pub(super) fn writable_hosts(self) -> Vec<PathBuf> {
        self.dirs.into_iter().filter(|Table(dir)| dir.write).map(|Table(dir)| dir.host).collect()
    }

    /// Returns the names of the secrets, unchecked.
    pub(super) fn secrets(&self) -> Vec<String> {
        self.secrets.keys().cloned().collect()
    }

    /// Checks all permissions, and that the folders exist; a scratch folder may hold at most `disk_bytes_max`.
    pub(super) fn check(self, disk_bytes_max: u64) -> Result<Permissions, String> {
        let http = self.http.iter().map(|url| {
            http_rule(url).map_err(|reason| format!("allow.http '{}' {reason}", url.escape_debug()))
        });
        let http = http.collect::<Result<Vec<_>, _>>()?;
        let tcp = self.tcp.into_iter().map(TcpEntry::check).collect::<Result<_, _>>()?;
        for (name, value) in &self.env {
            check_variable(name, value)?;
        }
        let dirs: Vec<_> = self.dirs.into_iter().map(|Table(dir)| dir_rule(dir)).collect::<Result<_, _>>()?;
        for (position, rule) in dirs.iter().enumerate() {
            if dirs[..position].iter().any(|earlier| earlier.guest == rule.guest) {
                return Err(format!("allow.dirs names the guest path '{}' twice", rule.guest));
            }
        }
        let scratch = self.scratch.map(|scratch| scratch.check(disk_bytes_max, &dirs)).transpose()?;
        let secrets = self.secrets.into_iter().map(|(name, Table(table))| {
            if self.env.contains_key(&name) {
                return Err(format!("allow.secrets '{name}' has the name of a variable of allow.env"));
            }
            let rule = secret_rule(&name, table, &http);
            let refuse = |why| format!("allow.secrets '{}' {why}", name.escape_debug());
            rule.map_err(refuse).map(|rule| (name, rule))
        });
        let secrets = secrets.collect::<Result<_, _>>()?;
        Ok(Permissions { http, tcp, env: self.env, dirs, scratch, secrets })
    }
}

/// Parses `scheme://host[:port][/path]`, and no other parts of a URL.
fn http_rule(url: &str) -> Result<HttpRule, String> {
    let forbidden = |c: char| c.is_whitespace() || c.is_control() || !c.is_ascii();
    if url.chars().any(forbidden) {
        return Err("has characters that are invalid in a URL".to_owned());
    }
    let (scheme, rest) = url.split_once("://").ok_or("must begin with http:// or https://")?;
    let port = match scheme {
        "http" => 80,
        "https" => 443,
        _ => return Err("must begin with http:// or https://".to_owned()),
    };
    for (mark, what) in [('@', "a user"), ('?', "a query"), ('#', "a fragment"), ('\\', "a backslash")] {
        if rest.contains(mark) {
            return Err(format!("must not have {what}"));
        }
    }
    let (authority, path) = rest.find('/').map_or((rest, "/"), |slash| rest.split_at(slash));
    let (host, port) = host_and_port(authority, Some(port))?;
    check_path(path)?;
    Ok(HttpRule { scheme: scheme.to_owned(), host, port, path_prefix: path.to_owned() })
}

fn check_path(path: &str) -> Result<(), String> {
    if path.contains('%') || path.contains("//") || path.split('/').any(|part| part == "." || part == "..") {
        return Err("must have a plain path, without '%', '//', '.' and '..'".to_owned());
    }
    Ok(())
}

fn check_variable(name: &str, value: &str) -> Result<(), String> {
    if name.is_empty() || name.contains(['=', '\0']) {
        return Err(format!("allow.env '{}' is not a valid variable name", name.escape_debug()));
    }
    if value.contains('\0') {
        return Err(format!("allow.env '{name}' has a value with a NUL in it"));
    }
    Ok(())
}

/// Checks how a secret is used: placed into headers to origins that `http` permits, or revealed.
fn secret_rule(name: &str, table: SecretTable, http: &[HttpRule]) -> Result<SecretRule, String> {
    let SecretTable { to, r#in, reveal } = table;
    if !is_secret_name(name) {
        return Err("must be named as a variable: letters, digits and '_', at most 64".to_owned());
    }
    let form = match (reveal, r#in) {
        (true, None) if to.is_empty() => return Ok(SecretRule::Revealed),
        (true, _) => return Err("has `reveal`, which goes with neither `to` nor `in`".to_owned()),
        (false, None) => return Err("needs `in`, such as in = \"header\", or reveal = true".to_owned()),
        (false, Some(form)) => match form.strip_prefix("basic:") {
            Some(user) if is_user(user) => SecretForm::Basic(user.to_owned()),
            None if form == "header" => SecretForm::Plain,
            _ => return Err("has an `in` that is neither \"header\" nor \"basic:USER\"".to_owned()),
        },
    };
    if to.is_empty() {
        return Err(
            "needs `to`: the origins that it may be sent to, such as https://api.example.com".to_owned()
        );
    }
    let to = to.iter().map(|url| {
        origin(url, http).map_err(|why| format!("may not be sent to '{}': it {why}", url.escape_debug()))
    });
    Ok(SecretRule::Placed { to: to.collect::<Result<_, _>>()?, form })
}

/// Returns true for a user name that Basic can carry.
fn is_user(user: &str) -> bool {
    !user.is_empty() && user.len() <= 256 && !user.contains(':') && !user.chars().any(char::is_control)
}

/// Parses an origin that requests may go to.
fn origin(url: &str, http: &[HttpRule]) -> Result<Endpoint, String> {
    let HttpRule { scheme, host, port, path_prefix } = http_rule(url)?;
    if scheme != "https" {
        return Err("must begin with https://, since others could read it on the way".to_owned());
    }
    if path_prefix != "/" {
        return Err("must have no path: a secret goes to an origin".to_owned());
    }
    if host.starts_with("*.") {
        return Err("must name one host".to_owned());
    }
    let endpoint = Endpoint { host: normalize_host(&host), port, tls: true };
    if http.iter().any(|rule| rule.covers(&endpoint)) {
        Ok(endpoint)
    } else {
        Err("is in no rule of allow.http, so no request goes there".to_owned())
    }
}

fn dir_rule(dir: Dir) -> Result<DirRule, String> {
    let Dir { host, guest, write } = dir;
    if !is_plain_or_relative(&guest) {
        let guest = guest.escape_debug();
        return Err(format!(
            "allow.dirs: the guest path '{guest}' must be plain, such as /in, or in and . for programs that use \
             relative paths"
        ));
    }
    let rule = DirRule { host, guest, write };
    // The folder that guests use is opened when the plugin is created.
    GrantedFolder::open(&rule)?;
    Ok(rule)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(url: &str) -> (String, String, u16, String) {
        let HttpRule { scheme, host, port, path_prefix } = http_rule(url).expect(url);
        (scheme, host, port, path_prefix)
    }

    #[test]
    fn urls_are_read_with_their_defaults() {
        let expect = |url, scheme: &str, host: &str, port, path: &str| {
            assert_eq!(rule(url), (scheme.to_owned(), host.to_owned(), port, path.to_owned()));
        };
        expect("https://api.example.com", "https", "api.example.com", 443, "/");
        expect("http://API.example.com/", "http", "api.example.com", 80, "/");
        expect("https://*.cdn.example.com:8443/img/", "https", "*.cdn.example.com", 8443, "/img/");
        expect("http://127.0.0.1:3000/a/b", "http", "127.0.0.1", 3000, "/a/b");
        expect("http://[::1]:81", "http", "::1", 81, "/");
        expect("http://localhost", "http", "localhost", 80, "/");
    }

    #[test]
    fn urls_with_other_parts_are_rejected() {
        for url in [
            "",
            "example.com",
            "ftp://example.com",
            "HTTP://example.com",
            "https://",
            "https:///path",
            "https://user@example.com",
            "https://user:secret@example.com",
            "https://good.com\\@evil.com",
            "https://example.com?q=1",
            "https://example.com/#a",
            "https://example.com:0",
            "https://example.com:99999",
            "https://example.com:",
            "https://example.com:+1",
            "https://*",
            "https://*.",
            "https://a.*.com",
            "https://*.1.2.3.4",
            "https://1.2.3",
            "https://0x7f.1",
            "https://a..b",
            "https://ex ample.com",
            "https://exämple.com",
            "https://[::1",
            "https://[::1]x",
            "https://[nothing]",
            "https://example.com/a/../b",
            "https://example.com/%2e%2e/b",
            "https://example.com//b",
        ] {
            assert!(http_rule(url).is_err(), "{url}");
        }
    }

    #[test]
    fn folders_must_exist_and_guest_paths_be_plain() {
        let dir = |host: &str, guest: &str| {
            dir_rule(Dir { host: host.into(), guest: guest.to_owned(), write: false })
        };
        for guest in ["/in", "/a/b", "/", "in", "a/b.c", "."] {
            assert!(dir("/usr", guest).is_ok(), "{guest}");
        }
        for (host, guest) in [
            ("relative", "/in"),
            ("/no/such/folder", "/in"),
            ("/usr", ".."),
            ("/usr", "./in"),
            ("/usr", "in/.."),
            ("/usr", "in/"),
            ("/usr", "a\\b"),
            ("/usr", "/in/"),
            ("/usr", "/../in"),
            ("/usr", "//in"),
            ("/usr", ""),
        ] {
            assert!(dir(host, guest).is_err(), "{host} {guest}");
        }
        let twice = || Dir { host: "/usr".into(), guest: "/in".to_owned(), write: false };
        let allow = Allow { dirs: vec![Table(twice()), Table(twice())], ..Allow::default() };
        assert!(allow.check(0).unwrap_err().contains("twice"));
    }

    #[test]
    fn a_secret_goes_to_origins_over_tls_or_is_revealed() {
        let check = |text: &str| {
            let text = format!(
                "http = [\"https://*.stripe.com/v1\", \"http://a.com\"]\nenv = {{ E = \"\" }}\nsecrets = {{ {text} }}"
            );
            toml::from_str::<Allow>(&text)
                .map_err(|error| error.message().to_owned())?
                .check(0)
                .map(|all| all.secrets)
        };
        let placed = check("K = { to = [\"https://API.stripe.com\"], in = \"header\" }").unwrap();
        let to = vec![Endpoint { host: "api.stripe.com".to_owned(), port: 443, tls: true }];
        assert_eq!(placed["K"], SecretRule::Placed { to: to.clone(), form: SecretForm::Plain });
        let basic = check("K = { to = [\"https://api.stripe.com\"], in = \"basic:ada\" }").unwrap();
        assert_eq!(basic["K"], SecretRule::Placed { to, form: SecretForm::Basic("ada".to_owned()) });
        assert_eq!(check("K = { reveal = true }").unwrap()["K"], SecretRule::Revealed);
        for (text, said) in [
            ("K = {}", "needs `in`"),
            ("K = { in = \"header\" }", "needs `to`"),
            ("K = { to = [\"https://api.stripe.com\"], in = \"body\" }", "neither"),
            ("K = { to = [\"https://api.stripe.com\"], in = \"basic:\" }", "neither"),
            ("K = { to = [\"https://api.stripe.com\"], in = \"basic:a:b\" }", "neither"),
            ("K = { to = [\"https://api.stripe.com\"], reveal = true }", "goes with neither"),
            ("K = { to = [\"http://a.com\"], in = \"header\" }", "https://"),
            ("K = { to = [\"https://b.com\"], in = \"header\" }", "no rule of allow.http"),
            ("K = { to = [\"https://stripe.com\"], in = \"header\" }", "no rule of allow.http"),
            ("K = { to = [\"https://*.stripe.com\"], in = \"header\" }", "one host"),
            ("K = { to = [\"https://api.stripe.com/v1\"], in = \"header\" }", "no path"),
            ("K = { to = [\"https://u@api.stripe.com\"], in = \"header\" }", "a user"),
            ("E = { reveal = true }", "variable of allow.env"),
            ("\"A-B\" = { reveal = true }", "named as a variable"),
            ("K = { reveal = true, then = 1 }", "unknown field"),
            ("K = \"x\"", "a table"),
        ] {
            let why = check(text).unwrap_err();
            assert!(why.contains(said), "{text}: {why}");
        }
    }

    #[test]
    fn variables_must_be_valid() {
        assert!(check_variable("REGION", "eu").is_ok() && check_variable("EMPTY", "").is_ok());
        for (name, value) in [("", "a"), ("A=B", "a"), ("A", "\0")] {
            assert!(check_variable(name, value).is_err(), "{name:?}");
        }
    }
}
