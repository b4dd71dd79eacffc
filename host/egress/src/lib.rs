//! Outgoing connections: resolves names, checks addresses, and connects only to addresses that passed the check.
//!
//! The runtime sends the requests of guests through it, the API those of webhooks, so that both follow the same
//! rules. It speaks no HTTP, pools no connections, and uses no proxy. Callers decide which addresses besides public
//! ones are allowed.

mod connections;
mod connector;
mod destination;
mod dial;
mod endpoint;
mod public_address;
mod resolver;

pub use connections::{Connection, ConnectionQuota};
pub use connector::{ConnectError, Connector};
pub use destination::{AllowedDestination, InvalidDestination};
pub use dial::dial;
pub use endpoint::{Endpoint, normalize_host};
pub use resolver::LookupFn;
