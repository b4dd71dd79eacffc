//! What the hosts of one database know of each other, and share.

mod host;
mod inbox;
mod lease;
mod plugin;
mod snapshot;

pub use self::host::{Host, HostReport, OwnHost, SharedSettings, StopRequest, differing};
pub use self::inbox::{InboxBacklog, InboxOutcome, InboxRequest, InboxTask};
pub use self::lease::Lease;
pub use self::plugin::{PluginFiles, PluginSignatures, PublishedPlugin};
pub use self::snapshot::HeldSnapshot;
