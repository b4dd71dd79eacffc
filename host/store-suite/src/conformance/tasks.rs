//! Tasks on their way through the queue.

pub mod bulk;
pub mod cancel_and_remove;
pub mod children;
pub mod claim;
pub mod clock;
pub mod fairness;
pub mod files;
pub mod finish;
pub mod idempotency;
pub mod insert;
pub mod key_limits;
pub mod posted;
pub mod queue;
pub mod recover;
pub mod retry;
pub mod suspend;
