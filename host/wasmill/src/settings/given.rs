//! The settings that a command takes as flags and variables, before the file is read.

use std::fmt::Debug;
use std::marker::PhantomData;

use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command, Error, FromArgMatches};

use super::Settings;
use super::layer::Layer;

/// Names the settings that a command takes; the others come from the file.
pub(crate) trait Takes: Clone + Debug {
    /// Returns true if the command takes this setting.
    fn takes(setting: &str) -> bool;
}

/// Takes every setting, as `serve` does.
#[derive(Clone, Debug)]
pub(crate) struct All;

impl Takes for All {
    fn takes(_: &str) -> bool {
        true
    }
}

/// Takes the settings of `run`.
#[derive(Clone, Debug)]
pub(crate) struct ForRun;

impl Takes for ForRun {
    fn takes(setting: &str) -> bool {
        ["config", "plugins", "memory"].contains(&setting)
    }
}

/// Takes the settings of `backup`.
#[derive(Clone, Debug)]
pub(crate) struct ForBackup;

impl Takes for ForBackup {
    fn takes(setting: &str) -> bool {
        ["config", "data", "database"].contains(&setting)
    }
}

/// Takes the settings of `database migrate`.
#[derive(Clone, Debug)]
pub(crate) struct ForMigrate;

impl Takes for ForMigrate {
    fn takes(setting: &str) -> bool {
        ["config", "database", "database_password_file", "database_ca"].contains(&setting)
    }
}

/// Takes the settings of `audit`.
#[derive(Clone, Debug)]
pub(crate) struct ForAudit;

impl Takes for ForAudit {
    fn takes(setting: &str) -> bool {
        ["config", "data", "audit_file"].contains(&setting)
    }
}

/// Takes the settings of `key`.
#[derive(Clone, Debug)]
pub(crate) struct ForKeys;

impl Takes for ForKeys {
    fn takes(setting: &str) -> bool {
        ["config", "data", "keys_file"].contains(&setting)
    }
}

/// Takes the settings of `plugin trust`.
#[derive(Clone, Debug)]
pub(crate) struct ForTrust;

impl Takes for ForTrust {
    fn takes(setting: &str) -> bool {
        ["config", "plugins"].contains(&setting)
    }
}

/// What flags and variables set; [`Settings::load`] adds the file and the defaults.
#[derive(Clone, Debug)]
pub(crate) struct Given<T = All> {
    pub(super) layer: Layer,
    taken: PhantomData<T>,
}

impl<T: Takes> FromArgMatches for Given<T> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let mut layer = Layer::default();
        for arg in Settings::command().get_arguments().filter(|arg| T::takes(arg.get_id().as_str())) {
            let setting = arg.get_id().as_str();
            let is_given = !matches!(matches.value_source(setting), None | Some(ValueSource::DefaultValue));
            if is_given && let Some(texts) = matches.get_raw(setting) {
                layer.insert(setting, texts.map(ToOwned::to_owned).collect());
            }
        }
        Ok(Self { layer, taken: PhantomData })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl<T: Takes> Args for Given<T> {
    fn augment_args(command: Command) -> Command {
        let settings = Settings::command();
        let taken = settings.get_arguments().filter(|arg| T::takes(arg.get_id().as_str()));
        command.args(taken.cloned())
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}
