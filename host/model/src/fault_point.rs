//! Named points at which a test can inspect the state that a crash would leave.
//!
//! Store and scheduler mark them with [`fault_point!`](macro@crate::fault_point). Without the feature
//! `fault-points`, which only the scheduler's tests enable, they compile to nothing.

/// Marks a fault point; expands to nothing in the product.
#[cfg(not(feature = "fault-points"))]
#[macro_export]
macro_rules! fault_point {
    ($name:literal) => {};
}

/// Marks a fault point.
#[cfg(feature = "fault-points")]
#[macro_export]
macro_rules! fault_point {
    ($name:literal) => {
        $crate::fault_point::reach($name)
    };
}

#[cfg(feature = "fault-points")]
pub use armed::{arm, disarm, reach};

#[cfg(feature = "fault-points")]
mod armed {
    use std::sync::{Arc, PoisonError, RwLock};

    type Trap = Arc<dyn Fn(&'static str) + Send + Sync>;

    static TRAP: RwLock<Option<Trap>> = RwLock::new(None);

    /// Calls `trap` with the name of every fault point that any thread reaches from now on.
    pub fn arm(trap: impl Fn(&'static str) + Send + Sync + 'static) {
        *TRAP.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(trap));
    }

    /// Removes the trap.
    pub fn disarm() {
        *TRAP.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Calls the trap, if one is set.
    pub fn reach(name: &'static str) {
        let trap = TRAP.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(trap) = trap {
            trap(name);
        }
    }
}
