//! The memory budget of all guests: what they use, what further runs would use, and which runs are evicted when
//! memory runs out.
//!
//! Owned by the runtime. Declared and touched memory differ widely: a small Rust program declares 1.1 MiB and
//! touches 80 KiB, and thousands of idle guests have to fit. So the budget counts resident memory, as reported by
//! the kernel, plus memory granted so recently that the guest may not have touched it yet. The scheduler asks for
//! the available memory before it starts another run.
//!
//! When no memory is available, a run that grows is evicted and its task requeued. When guests touch memory that
//! was granted long ago and exceed the budget, large and young runs are evicted until the rest fits. After an
//! eviction, the estimate of the plugin rises and each of its runs reserves all of it for its lifetime, so that
//! after a few rounds the runs admitted together fit together. A run that is alone is never evicted, so there is
//! always progress.

mod account;
mod budget;
mod estimate;
pub(crate) mod limiter;
pub(crate) mod machine;
mod resident;

pub(crate) use self::account::Account;
pub(crate) use self::budget::{Budget, Evicted, Gauge, MemoryReservation};
pub(crate) use self::estimate::MemoryEstimate;
pub(crate) use self::resident::ResidentMemory;
