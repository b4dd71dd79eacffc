//! The debug port: what the server is doing, for its operators. It has its own listener, is disabled by
//! default, and is read-only.
//!
//! Its routes are not part of the API, but its errors have the same format.

mod dump;
mod heap;
mod pprof;
mod profile;
mod router;
mod state;
mod tasks;
mod threads;

pub use self::router::debug_router;
pub use self::state::DebugState;
