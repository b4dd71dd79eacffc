//! Tests that every backend of the store passes: [`conformance!`] creates a test of each case, [`random`] compares a
//! store with a model that is simple enough to be right, and [`turns`] is the rule of fairness that both check.
//!
//! A backend implements [`Fixture`] in its tests. Nothing here knows a database.

pub mod conformance;
pub mod fixture;
pub mod random;
pub mod turns;

pub use fixture::{Fixture, SharedFixture, StoreExt};
