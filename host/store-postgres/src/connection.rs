//! Connections to the server, and what can go wrong with them.

pub(crate) mod database;
pub(crate) mod fault;
pub(crate) mod schema;
pub(crate) mod server;
pub(crate) mod tls;
