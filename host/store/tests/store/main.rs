//! Tests of the store through its public door.

mod backup;
mod conformance;
mod damage;
mod fixture;
mod large;
mod random;
mod rows;
mod sqlite;
mod traces;
