//! Tests of the store through its public door.

mod conformance;
mod damage;
mod fixture;
mod large;
mod random;
mod sqlite;
mod traces;
