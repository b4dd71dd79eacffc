//! The backend of the store in PostgreSQL.
//!
//! One writer puts what is queued into transactions, a few connections read. [`Database`] becomes the store; its
//! operations are in folders by subject, as those of the embedded backend.

mod config;
mod connection;
mod delivery;
mod dependency;
mod postgres;
mod queue;
mod read;
mod retention;
mod schedule;
mod writer;

pub use config::PostgresConfig;
pub use postgres::Database;
