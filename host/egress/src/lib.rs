//! The one door to the world outside: a name is resolved, its addresses are checked, and a connection goes to
//! exactly one of those that passed.
//!
//! The runtime sends the requests of guests through it, the API those of webhooks, so that both meet the same
//! rules. It speaks no HTTP, keeps no connections, uses no proxy, and never decides who may go where: its
//! callers say which addresses besides public ones a request may go to.

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
