//! What every backend keeps beside its transactions: counts and statistics of commits, outages, claims that nobody
//! took, and how commands are divided into transactions.

mod abandoned_claims;
mod divide;
mod effects;
mod outage_log;
mod writer_state;
mod writer_stats;

pub use abandoned_claims::{AbandonedClaims, UndeliveredClaims};
pub use divide::{BATCH_MAX, divide, is_large, large};
pub use effects::Effects;
pub use outage_log::OutageLog;
pub use writer_state::WriterState;
pub use writer_stats::{Committed, WriterStats};
