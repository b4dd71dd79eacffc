//! `[secrets]` of the settings file: where each secret of plugins is, and who may use it. It is in no flag and no
//! variable, and never holds a value.

use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use wasmill_model::PluginName;
use wasmill_runtime::{SecretConfig, SecretSource, Secrets, is_secret_name};

/// The folder of the credentials that systemd hands to a service.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// The secrets by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct SecretSettings(BTreeMap<String, SecretConfigRow>);

#[derive(Clone, Debug)]
struct SecretConfigRow {
    place: Place,
    plugins: Option<Vec<PluginName>>,
    digests: Option<Vec<String>>,
}

/// Where a secret is.
#[derive(Clone, Debug)]
enum Place {
    File(PathBuf),
    Variable(String),
    Credential(String),
}

/// A secret as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Row {
    file: Option<PathBuf>,
    env: Option<String>,
    credential: Option<String>,
    plugins: Option<Vec<String>>,
    digests: Option<Vec<String>>,
}

impl SecretSettings {
    /// Reads the table.
    pub(super) fn read(table: toml::Table) -> Result<Self, String> {
        let rows = table.into_iter().map(|(name, row)| {
            let refuse = |why: String| format!("secrets.{}: {why}", name.escape_debug());
            if !is_secret_name(&name) {
                return Err(refuse(
                    "a name has letters, digits and '_', at most 64, and no digit first".to_owned(),
                ));
            }
            // A text in place of a table is often the value itself, which no message may quote.
            let toml::Value::Table(row) = row else {
                return Err(refuse("expected a table such as { file = \"/run/secrets/key\" }".to_owned()));
            };
            let row = toml::Value::Table(row).try_into::<Row>().map_err(|error| error.message().to_owned());
            Ok((name.clone(), row.and_then(check).map_err(refuse)?))
        });
        rows.collect::<Result<_, _>>().map(Self)
    }

    /// Returns their names.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Returns the secrets, with the values of variables as they are now. Files are read later.
    pub(crate) fn secrets(&self) -> Secrets {
        let secret = |(name, row): (&String, &SecretConfigRow)| {
            let SecretConfigRow { place, plugins, digests } = row.clone();
            (name.clone(), SecretConfig { source: place.source(), plugins, digests })
        };
        Secrets::new(self.0.iter().map(secret))
    }
}

impl Place {
    fn source(self) -> SecretSource {
        match self {
            Self::File(path) => SecretSource::File(path),
            Self::Variable(name) => {
                let value = env::var(&name).ok();
                SecretSource::variable(name, value)
            }
            Self::Credential(name) => match env::var_os(CREDENTIALS) {
                Some(folder) => SecretSource::File(Path::new(&folder).join(name)),
                None => SecretSource::variable(CREDENTIALS.to_owned(), None),
            },
        }
    }
}

fn check(row: Row) -> Result<SecretConfigRow, String> {
    let Row { file, env, credential, plugins, digests } = row;
    let place = match (file, env, credential) {
        (Some(file), None, None) => Place::File(file),
        (None, Some(name), None) if !name.is_empty() && !name.contains(['=', '\0']) => Place::Variable(name),
        (None, Some(_), None) => return Err("env must name a variable".to_owned()),
        (None, None, Some(name))
            if !name.is_empty() && !name.contains(['/', '\0']) && !name.starts_with('.') =>
        {
            Place::Credential(name)
        }
        (None, None, Some(_)) => return Err("credential must name a credential of systemd".to_owned()),
        _ => return Err("expected one of file, env and credential".to_owned()),
    };
    let plugin = |name: &String| name.parse().map_err(|error| format!("plugins: {error}"));
    let plugins = plugins.map(|names| names.iter().map(plugin).collect::<Result<_, String>>()).transpose()?;
    let digests =
        digests.map(|all| all.iter().map(|text| digest(text)).collect::<Result<_, _>>()).transpose()?;
    Ok(SecretConfigRow { place, plugins, digests })
}

/// Parses a digest, such as `sha256:77ab…`.
fn digest(text: &str) -> Result<String, String> {
    let hex = text.strip_prefix("sha256:").unwrap_or(text);
    if hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        Ok(hex.to_ascii_lowercase())
    } else {
        Err("digests: each must be sha256: and 64 hexadecimal digits, as printed by `sha256sum`".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<SecretSettings, String> {
        SecretSettings::read(toml::from_str(text).expect("TOML"))
    }

    #[test]
    fn a_secret_has_one_place_and_may_be_pinned() {
        let digest = "AB".repeat(32);
        let text = format!(
            "A = {{ file = \"/run/a\" }}\nB = {{ env = \"B\", plugins = [\"report\"], digests = [\"sha256:{digest}\"] }}\n\
             C = {{ credential = \"c\" }}"
        );
        let secrets = read(&text).expect("valid");
        assert_eq!(secrets.names().collect::<Vec<_>>(), ["A", "B", "C"]);
        assert_eq!(secrets.0["B"].digests, Some(vec!["ab".repeat(32)]));
        assert_eq!(secrets.secrets().files().collect::<Vec<_>>(), [Path::new("/run/a")]);
    }

    #[test]
    fn a_malformed_secret_is_named_and_never_quoted() {
        for (text, said) in [
            ("A = \"hunter2\"", "expected a table"),
            ("A = { value = \"hunter2\" }", "unknown field"),
            ("A = {}", "one of file, env and credential"),
            ("A = { file = \"/a\", env = \"hunter2\" }", "one of"),
            ("A = { env = \"\" }", "a variable"),
            ("A = { credential = \"../hunter2\" }", "systemd"),
            ("A = { file = \"/a\", plugins = [\"NO GOOD\"] }", "plugins"),
            ("A = { file = \"/a\", digests = [\"hunter2\"] }", "64 hexadecimal"),
            ("\"A-B\" = { file = \"/a\" }", "letters"),
        ] {
            let why = read(text).expect_err(text);
            assert!(why.contains(said) && why.contains("secrets.A") && !why.contains("hunter2"), "{why}");
        }
    }
}
