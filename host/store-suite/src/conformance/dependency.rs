//! Tasks that depend on others.

pub mod dependencies;
pub mod dependency_results;
pub mod dependents;
