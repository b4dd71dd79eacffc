//! What makes tasks of requests that did not come over HTTP.

mod children;
mod inbox;

pub use self::children::child_factory;
pub use self::inbox::inbox_factory;
