//! The backend of the store in PostgreSQL.
//!
//! One writer puts what is queued into transactions, a few connections read. [`Database`] becomes the store; its
//! operations are in folders by subject, as those of the embedded backend.

mod address;
mod cluster;
mod config;
mod connection;
mod content;
mod delivery;
mod dependency;
mod examine;
mod live;
#[cfg(test)]
mod plans;
mod plugin;
mod postgres;
#[cfg(test)]
#[path = "../../../tests/harness/postgres.rs"]
#[allow(dead_code, unreachable_pub, reason = "the product tests use all of it")]
mod postgres_server;
mod queue;
mod read;
mod retention;
mod schedule;
#[cfg(test)]
#[path = "../../../tests/harness/skip.rs"]
#[allow(unreachable_pub, reason = "the product tests use it")]
mod skip;
mod writer;

pub use address::Address;
pub use cluster::place::Place;
pub use config::PostgresConfig;
pub use examine::{Examined, examine, migrate};
pub use postgres::Database;
