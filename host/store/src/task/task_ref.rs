//! How a backend finds a task again.

/// Where a backend keeps a task. Only the backend that returned it can read it; it is never reused while the
/// store is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskRef(pub u128);
