//! The settings file: TOML whose keys are settings. Each value is checked by the parser of its setting, so an error
//! shows its position.

use std::ffi::OsString;
use std::fmt;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use clap::{Arg, ArgAction, Command};
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, Visitor};
use toml::Value;
use wasmill_model::{position, without_bom};
use wasmill_runtime::read_text;

use super::Settings;
use super::layer::Layer;
use super::secrets::SecretSettings;
use crate::exit;
use crate::settings::similar::hint;

/// Maximum size of the file.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The table of secrets.
const SECRETS: &str = "secrets";

/// What a file sets.
#[derive(Debug, Default)]
pub(super) struct FileSettings {
    pub(super) layer: Layer,
    /// The table `[secrets]`.
    pub(super) secrets: SecretSettings,
}

/// Reads a settings file.
pub(super) fn read(path: &Path) -> Result<FileSettings> {
    let text = read_text(path, FILE_BYTES_MAX)
        .map_err(|error| exit::read_error(format!("settings file {}", path.display()), &error))?;
    parse(without_bom(&text)).with_context(|| format!("invalid settings file {}", path.display()))
}

pub(super) fn parse(text: &str) -> Result<FileSettings> {
    let parsed = toml::Deserializer::parse(text)
        .and_then(|deserializer| deserializer.deserialize_map(File(&Settings::command())));
    parsed.map_err(|error| {
        let at = position(text, error.span().map_or(0, |span| span.start));
        anyhow!("{at}: {}", error.message())
    })
}

/// Reads the file; it has the settings of this command.
struct File<'a>(&'a Command);

impl<'de> Visitor<'de> for File<'_> {
    type Value = FileSettings;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("settings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<FileSettings, A::Error> {
        let mut file = FileSettings::default();
        while let Some(key) = map.next_key_seed(Key(self.0))? {
            match key {
                Some(setting) => {
                    file.layer.insert(setting.get_id().as_str(), map.next_value_seed(Texts(setting))?);
                }
                None => file.secrets = map.next_value_seed(SecretsSeed)?,
            }
        }
        Ok(file)
    }
}

/// Reads the table of secrets.
struct SecretsSeed;

impl<'de> DeserializeSeed<'de> for SecretsSeed {
    type Value = SecretSettings;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<SecretSettings, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::Table(table) => SecretSettings::read(table).map_err(Error::custom),
            _ => Err(Error::custom("expected a table of secrets, such as [secrets]")),
        }
    }
}

/// Finds the setting of a key; none for the table of secrets.
struct Key<'a>(&'a Command);

impl<'de, 'a> DeserializeSeed<'de> for Key<'a> {
    type Value = Option<&'a Arg>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        let key = String::deserialize(deserializer)?;
        if key == SECRETS {
            return Ok(None);
        }
        let settings = || self.0.get_arguments().filter(|arg| *arg.get_id() != "config");
        settings().find(|arg| *arg.get_id() == key.as_str()).map(Some).ok_or_else(|| {
            let hint = hint(&key, settings().map(|arg| arg.get_id().as_str()));
            Error::custom(format!("unknown setting {key}; {hint}"))
        })
    }
}

/// Reads the value of a setting as the texts that its parser accepts.
struct Texts<'a>(&'a Arg);

impl<'de> DeserializeSeed<'de> for Texts<'_> {
    type Value = Vec<OsString>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        let takes_many = matches!(self.0.get_action(), ArgAction::Append);
        let texts = match Value::deserialize(deserializer)? {
            Value::Array(items) if takes_many => items.into_iter().map(text).collect::<Result<_, _>>(),
            value => text(value).map(|text| vec![text]),
        };
        let texts: Vec<OsString> = texts.map_err(Error::custom)?;
        check(self.0, &texts).map_err(Error::custom)?;
        Ok(texts)
    }
}

fn text(value: Value) -> Result<OsString, String> {
    match value {
        Value::String(text) => Ok(text.into()),
        Value::Integer(number) => Ok(number.to_string().into()),
        Value::Boolean(is_true) => Ok(is_true.to_string().into()),
        other => Err(format!("expected a text, a whole number or a boolean, not {}", other.type_str())),
    }
}

/// Parses the texts as if they were flags.
fn check(setting: &Arg, texts: &[OsString]) -> Result<(), String> {
    let mut layer = Layer::default();
    layer.insert(setting.get_id().as_str(), texts.to_vec());
    let command = Command::new("wasmill").no_binary_name(true).arg(setting.clone().env(None));
    command.try_get_matches_from(layer.flags()).map(drop).map_err(|error| {
        let text = error.to_string();
        let first = text.split("\n\n").next().unwrap_or_default().trim_start_matches("error: ");
        first.split_whitespace().collect::<Vec<_>>().join(" ")
    })
}
