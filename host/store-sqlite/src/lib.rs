//! The embedded backend of the store: SQLite, in the file `wasmill.db` of the data folder.
//!
//! One thread writes, a few connections read; nothing else touches the file. [`Database`] becomes the store; its
//! operations are in folders by subject, and `sqlite` names them by the methods of the traits.

mod config;
mod content;
mod delivery;
mod dependency;
mod file;
mod queue;
mod read;
mod retention;
mod schedule;
mod sqlite;
mod writer;

#[cfg(test)]
mod budget;
#[cfg(test)]
mod plans;

pub use config::{Backup, CopiedFiles, ExaminedFiles, LockHolder, MissingFile, SqliteConfig};
pub use content::missing::examine_files;
pub use file::backup::backup;
pub use file::examine::examine;
pub use file::folder::check_folder;
pub use file::lock::holder;
pub use sqlite::Database;
