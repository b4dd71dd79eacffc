//! What callers pass and get when they submit, list, claim and end tasks.

mod attempt;
mod children;
mod claim;
mod dependency;
mod filter;
mod page;
mod posted;
mod submit;
mod task_ref;

pub use self::attempt::Attempt;
pub use self::children::ChildrenOutcome;
pub use self::claim::{CancelOutcome, Checkpoint, Claim, ClaimQuota, Claimed, Claims, RemoveOutcome};
pub use self::dependency::{Dependency, DependencyResults, DependencyStatus, HandedFiles};
pub use self::filter::{CancelledMany, Filter, Stopping};
pub use self::page::{Cursor, InvalidCursor, ListQuery, Page};
pub use self::posted::PostOutcome;
pub use self::submit::{IdempotencyKey, StoredSteps, Submitted, SubmittedTask};
pub use self::task_ref::TaskRef;
