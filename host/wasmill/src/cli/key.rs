//! Options of `wasmill key`.

use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use clap::{Args, Subcommand};
use wasmill_access::Scope;
use wasmill_model::{Group, PluginPattern, Rate, Tag, parse_duration};

use crate::settings::value::{count, parse_size};
use crate::settings::{ForKeys, Given};

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Create a key and print it, once
    ///
    /// It stores the hash of the key in keys.toml of the data folder. A running server takes it within a second.
    Create(CreateKeyArgs),
    /// List the keys of the data folder and of --keys-file with their last use, and the people of these files
    List(ListKeysArgs),
    /// Show whose a key is, what it may do, and whether it is in force; exit with 0 if it is, else with 1
    ///
    /// Looks it up in keys.toml of the data folder and in --keys-file, without a server. The key is that of --key-file, of
    /// the variable WASMILL_KEY, or of stdin; its checksum tells a typo.
    Check(CheckKeyArgs),
    /// Replace a key: print a new one of the same name and scopes, and end the old one after the overlap
    Rotate(RotateKeyArgs),
    /// End a key at once, also for open streams
    Revoke(RevokeKeyArgs),
}

#[derive(Args, Debug)]
pub(crate) struct CreateKeyArgs {
    /// Name of the key, such as ci or ada@example.com
    #[arg(value_name = "NAME")]
    pub(crate) name: String,

    /// What it may do, separated by commas: watch, read, submit, cancel, schedule, plugins, metrics or admin
    #[arg(long, value_name = "SCOPE", value_delimiter = ',', required = true)]
    pub(crate) scope: Vec<Scope>,

    /// How long it is valid; `never` for no end [default: 90days]
    #[arg(long, value_name = "TIME", value_parser = parse_validity)]
    pub(crate) expires: Option<Validity>,

    /// How many requests it may send, such as 200/s or 1000/10m; each task of a batch counts [default: any number]
    #[arg(long, value_name = "RATE")]
    pub(crate) rate: Option<Rate>,

    /// How many of its tasks may wait, 1 or more [default: any number]
    #[arg(long, value_name = "N", value_parser = count::<u64>(1.., "or it could submit nothing"))]
    pub(crate) waiting: Option<u64>,

    /// How many of its tasks may run at once, 1 or more; needs exactly one --group [default: any number]
    #[arg(long, value_name = "N", value_parser = count::<u64>(1.., "or nothing of it would run"))]
    pub(crate) running: Option<u64>,

    /// How many bytes of inputs, results and logs it may have stored, such as 2GiB [default: any number]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub(crate) stored: Option<ByteSize>,

    /// Plugins that it reaches, a name or a pattern such as img-*; may repeat [default: all]
    #[arg(long, value_name = "PLUGIN", value_delimiter = ',')]
    pub(crate) plugin: Vec<PluginPattern>,

    /// Groups that it reaches; with one, what it submits has that group; may repeat [default: all]
    #[arg(long, value_name = "GROUP")]
    pub(crate) group: Vec<Group>,

    /// Tags of the tasks that it reaches, all of them; what it submits gets them; may repeat [default: none]
    #[arg(long, value_name = "TAG")]
    pub(crate) tag: Vec<Tag>,

    /// Print the key with its id, scopes and end as JSON
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) given: Given<ForKeys>,
}

#[derive(Args, Debug)]
pub(crate) struct ListKeysArgs {
    /// Print the keys as JSON
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) given: Given<ForKeys>,
}

#[derive(Args, Debug)]
pub(crate) struct CheckKeyArgs {
    /// File with the key to check
    #[arg(long, value_name = "FILE", env)]
    pub(crate) key_file: Option<PathBuf>,

    /// Print what it may do as JSON
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) given: Given<ForKeys>,
}

#[derive(Args, Debug)]
pub(crate) struct RotateKeyArgs {
    /// Name of the key
    #[arg(value_name = "NAME")]
    pub(crate) name: String,

    /// How long the old key stays valid
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = parse_duration)]
    pub(crate) overlap: Duration,

    /// How long the new key is valid; `never` for no end [default: 90days, or never if the old one never ends]
    #[arg(long, value_name = "TIME", value_parser = parse_validity)]
    pub(crate) expires: Option<Validity>,

    /// Print the key with its id, scopes and end as JSON
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) given: Given<ForKeys>,
}

#[derive(Args, Debug)]
pub(crate) struct RevokeKeyArgs {
    /// Id of a key, or name of one or several
    #[arg(value_name = "NAME|ID")]
    pub(crate) name: String,

    #[command(flatten)]
    pub(crate) given: Given<ForKeys>,
}

/// How long a key is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Validity {
    For(Duration),
    Forever,
}

fn parse_validity(text: &str) -> Result<Validity, String> {
    if text == "never" {
        return Ok(Validity::Forever);
    }
    parse_duration(text).map(Validity::For).map_err(|error| format!("{error}; or use never"))
}
