//! Named places in the code at which a test may look at the world as a crash would leave it.
//!
//! Store and scheduler mark them with [`fault_point!`](crate::fault_point). Without the feature
//! `fault-points`, which only the tests of the scheduler switch on, nothing of them is compiled.

/// Marks a place that a test can have something done at; nothing at all in the product.
#[cfg(not(feature = "fault-points"))]
#[macro_export]
macro_rules! fault_point {
    ($name:literal) => {};
}

/// Marks a place that a test can have something done at.
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

    /// Has this called with the name of every fault point that any thread reaches from now on.
    pub fn arm(trap: impl Fn(&'static str) + Send + Sync + 'static) {
        *TRAP.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(trap));
    }

    /// Has nothing called any more.
    pub fn disarm() {
        *TRAP.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Calls what is armed.
    pub fn reach(name: &'static str) {
        let trap = TRAP.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(trap) = trap {
            trap(name);
        }
    }
}
