//! Options of `files`, and the files of `submit`.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::{Args, Subcommand};
use wasmill_model::{FileName, IdPrefix};

use crate::cli::server::ServerArgs;

#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct FilesArgs {
    #[command(subcommand)]
    pub(crate) command: Option<FilesCommand>,

    /// Task id, or the start or end of one
    #[arg(value_name = "ID", required = true)]
    pub(crate) id: Option<IdPrefix>,

    /// Print the server's response as JSON
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum FilesCommand {
    /// Get a file of a task
    Get(GetFileArgs),
}

#[derive(Args, Debug)]
pub(crate) struct GetFileArgs {
    /// Task id, or the start or end of one
    #[arg(value_name = "ID")]
    pub(crate) id: IdPrefix,

    /// Name of the file, such as out/report.json
    #[arg(value_name = "NAME")]
    pub(crate) name: FileName,

    /// Write to this file, which is replaced once all has arrived [default: stdout]
    #[arg(long, short, value_name = "PATH")]
    pub(crate) output: Option<PathBuf>,

    /// Get the file that came with the task, if the task left one of the same name
    #[arg(long)]
    pub(crate) input: bool,

    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

/// A file to send: `NAME=PATH`, or a path whose last part is the name.
#[derive(Clone, Debug)]
pub(crate) struct FileArg {
    pub(crate) name: FileName,
    pub(crate) path: PathBuf,
}

impl FromStr for FileArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, path) = match text.split_once('=') {
            Some((name, path)) => (name, Path::new(path)),
            None => {
                let path = Path::new(text);
                (path.file_name().and_then(|name| name.to_str()).unwrap_or_default(), path)
            }
        };
        if path.as_os_str().is_empty() {
            return Err("there is no path; use NAME=PATH, such as in.v=build/top.v".to_owned());
        }
        let name = name.parse().map_err(|error| format!("the name of the file is not valid: {error}"))?;
        Ok(Self { name, path: path.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_a_name_of_its_own_or_that_of_its_path() {
        let read = |text: &str| {
            text.parse::<FileArg>().map(|file| (file.name.to_string(), file.path.display().to_string()))
        };
        let file = |name: &str, path: &str| Ok((name.to_owned(), path.to_owned()));
        assert_eq!(read("lib/in.v=/src/top.v"), file("lib/in.v", "/src/top.v"));
        assert_eq!(read("/src/top.v"), file("top.v", "/src/top.v"));
        assert_eq!(read("a=b=c"), file("a", "b=c"));
        for text in ["", "a=", "=b", "../a=b", ".."] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
