//! Delivers webhooks: sends what is due, records each attempt and the time of the next one, and gives up in the end.
//!
//! The store decides what is due, the API parses the field `webhook` of a task, shows the state of a delivery and
//! serializes its payload. This crate sends and signs, through the same guarded connector as the requests of guests.

mod attempt;
mod config;
mod delivery_loop;
mod in_flight;
mod post;
mod signature;
mod stats;

pub use attempt::delivery_id;
pub use config::{PayloadFn, WebhookConfig};
pub use delivery_loop::Webhooks;
pub use signature::{InvalidSecret, SigningSecrets};
pub use stats::DeliveryStats;
