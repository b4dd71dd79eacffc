//! The last day of the server in samples: `GET /stats/history`, and what `GET /attention` compares.
//!
//! One task samples for all readers, once a second, from counters that exist anyway. The samples are in memory only, in
//! rings of fixed size.

mod failing;
pub(crate) mod get;
mod plugin_track;
mod rings;
mod sample;
mod sampler;
mod samples;

pub(crate) use failing::FailingPlugin;
pub use sampler::sample_history;
pub use samples::History;
