//! The queue: what moves tasks from one state to the next.

pub(crate) mod cancel;
pub(crate) mod cancel_many;
pub(crate) mod claim;
pub(crate) mod finish;
pub(crate) mod idempotency;
pub(crate) mod insert;
pub(crate) mod insert_rows;
pub(crate) mod pause;
pub(crate) mod post_event;
pub(crate) mod promote;
pub(crate) mod recover;
pub(crate) mod remove;
pub(crate) mod save;
pub(crate) mod starts;
pub(crate) mod submit_children;
