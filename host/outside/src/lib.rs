//! The one door to the world outside: a name is resolved, its addresses are checked, and a connection goes to
//! exactly one of those that passed.
//!
//! The runtime sends the requests of guests through it, the API those of webhooks, so that both meet the same
//! rules. It speaks no HTTP, keeps no connections, uses no proxy, and never decides who may go where: its
//! callers say which addresses besides public ones a request may go to.

mod address;
mod allowed;
mod connections;
mod dial;
mod door;
mod resolver;
mod target;

pub use allowed::{Allowed, InvalidAllowed};
pub use connections::{Connection, Share};
pub use dial::dial;
pub use door::{Outside, Unreached};
pub use resolver::Resolve;
pub use target::{Target, plain_host};
