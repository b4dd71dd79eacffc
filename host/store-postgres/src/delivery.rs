//! Webhook deliveries.

pub(crate) mod deliveries;
