//! Settings of the deliveries.

use std::time::Duration;

use wasmill_egress::{AllowedDestination, Connector};
use wasmill_model::{Backoff, Task, Timestamp};

use crate::signature::SigningSecrets;

/// Serializes a finished task as it is at this time, or says why that fails. Only the API knows the JSON of a task.
pub type PayloadFn = fn(Task, Timestamp) -> Result<Vec<u8>, String>;

/// Configuration of deliveries.
pub struct WebhookConfig {
    /// Signing secrets.
    pub secrets: SigningSecrets,
    /// Destinations allowed besides public addresses.
    pub allowed: Vec<AllowedDestination>,
    /// Maximum number of attempts of a delivery, at least 1.
    pub attempts_max: u32,
    /// Delays between attempts.
    pub backoff: Backoff,
    /// Timeout of one attempt.
    pub timeout: Duration,
    /// Connects to receivers.
    pub connector: Connector,
    /// Serializes a finished task as the payload of its deliveries.
    pub payload: PayloadFn,
}
