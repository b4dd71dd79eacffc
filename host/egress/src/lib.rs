//! The way out: resolves names, checks addresses, connects only to addresses that passed the check, and sends one HTTP
//! request per connection.
//!
//! The runtime sends the requests of guests through it and looks up the names of their TCP connections, the host those of webhooks, traces and commands, so that all
//! follow the same rules. It pools no connections and uses no proxy. Callers decide which addresses besides public
//! ones are allowed.

mod base_url;
mod connections;
mod connector;
mod destination;
mod dial;
mod endpoint;
mod public_address;
mod request;
mod resolver;
mod tls;

pub use base_url::BaseUrl;
pub use connections::{ConnectionPermit, ConnectionQuota, Traffic, TrafficMeter};
pub use connector::{ConnectError, Connector};
pub use destination::{AllowedDestination, InvalidDestination};
pub use endpoint::{Endpoint, normalize_host};
pub use public_address::is_public;
pub use request::{BUFFER_BYTES_MAX, Driver, RequestError, Route, USER_AGENT, is_reserved};
pub use resolver::LookupFn;
pub use tls::{EncryptedStream, TlsClient, Trust};
