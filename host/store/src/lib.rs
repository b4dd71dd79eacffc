//! Durable state: every task, its input, result, log and checkpoint.
//!
//! The scheduler and the API call it; it is the only crate that knows SQL. It never decides what
//! runs, never runs anything and never reads the clock: whoever calls says what time it is.

mod attempt;
mod claim;
mod config;
mod depend;
mod error;
mod event;
mod filter;
mod hub;
mod log;
mod page;
mod report;
mod retention;
mod schedule;
mod sqlite;
mod store;
mod submit;
mod tally;
mod traced;
mod webhook;

pub use attempt::Attempt;
pub use claim::{Cancelled, Claim, Claimed, Claims, Removed, Saved, Share};
pub use config::{Backup, CommitFigures, Counts, Holder, Recovery, StoreConfig, StoreStats};
pub use depend::{Dependency, Depends, HandOver};
pub use error::StoreError;
pub use event::{Change, Event, News};
pub use filter::{CancelledMany, Filter, Found, Stopping};
pub use hub::{AllFollower, Follower, Told};
pub use log::{Lines, LiveLog, LogPart, RunLog};
pub use page::{Cursor, InvalidCursor, ListQuery, Page};
pub use retention::{Excess, Keep, PruneCursor, PruneStep, Pruned};
pub use schedule::{Fire, Fired, LastRun, NewSchedule, Put, RanNow, RemovedSchedule, Schedule};
pub use store::Store;
pub use submit::{RequestKey, Steps, Submitted, SubmittedTask};
pub use tally::{Ended, Tally};
pub use webhook::{AfterTry, Backlog, Delivery, DeliveryState, Due, DueQuery, Redelivery, Try, WebhookLog};
