//! Outgoing HTTP: resolves names, checks addresses, connects only to addresses that passed the check, and sends one
//! request per connection.
//!
//! The runtime sends the requests of guests through it, the host those of webhooks, traces and commands, so that all
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
pub use connections::{ConnectionQuota, Traffic, TrafficMeter};
pub use connector::{ConnectError, Connector};
pub use destination::{AllowedDestination, InvalidDestination};
pub use endpoint::{Endpoint, normalize_host};
pub use request::{BUFFER_BYTES_MAX, Driver, RequestError, Route, USER_AGENT, is_reserved};
pub use resolver::LookupFn;
pub use tls::{EncryptedStream, TlsClient, Trust};
