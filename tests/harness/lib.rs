//! Starts the real binary on a free port and talks to it as a client would.
//!
//! Used by the product tests and the benchmarks. It never reaches into the server.

pub mod black_hole;
mod client;
pub mod collector;
mod command;
pub mod document;
mod folder;
mod issuer;
pub mod mock_server;
mod patroni;
mod pgbouncer;
mod postgres;
mod server;
mod signer;
mod skip;
mod stream;
pub mod terminal;
pub mod tiny;
mod tls;
mod warm_cache;
mod wrong_clock;

pub use client::{Answer, Client};
pub use command::{CommandOutput, builds_plugins, command, wasmill, wasmill_with_stdin};
pub use folder::{ServerFolder, is_skipped, test_database};
pub use issuer::Issuer;
pub use patroni::Patroni;
pub use pgbouncer::Pgbouncer;
pub use postgres::PostgresServer;
pub use server::{Server, binary};
pub use signer::Signer;
pub use skip::skip;
pub use stream::{Event, Stream};
pub use terminal::Terminal;
pub use tls::{Authority, Certificate, TlsClient};
pub use wrong_clock::WrongClock;

/// A plugin that misbehaves as its input says.
pub const MISBEHAVE: &[u8] = include_bytes!(env!("GUEST_MISBEHAVE"));

/// A program that does what its arguments say.
pub const PROGRAM: &[u8] = include_bytes!(env!("GUEST_PROGRAM"));

/// A plugin that does nothing, for benchmarks.
pub const NOOP: &[u8] = include_bytes!(env!("GUEST_NOOP"));

/// A guest that floods one import of the host.
pub const FLOOD: &[u8] = include_bytes!(env!("GUEST_FLOOD"));

/// A plugin that sends and spills its secrets as its input says.
pub const SECRETIVE: &[u8] = include_bytes!(env!("GUEST_SECRETIVE"));

/// A plugin of the guest crate that does what its input says.
pub const TYPED: &[u8] = include_bytes!(env!("GUEST_TYPED"));

/// A plain program that writes a line, for benchmarks.
pub const HELLO: &[u8] = include_bytes!(env!("GUEST_HELLO"));

/// Returns the repository. Found at run time: the tests may have been compiled in another clone of it.
pub fn repository() -> std::path::PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo runs the tests");
    std::path::PathBuf::from(package).join("..")
}

/// Returns a task that sleeps, in `misbehave`.
pub fn sleep(ms: u32) -> serde_json::Value {
    serde_json::json!({"plugin": "misbehave", "input": {"do": "sleep", "ms": ms}})
}
