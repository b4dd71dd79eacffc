//! Forms in which backends store values that no query looks into.

pub mod answer;
pub mod usage;
pub mod wake_on;
