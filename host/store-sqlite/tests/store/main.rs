//! Tests of the embedded backend: the suite of all backends, and what only SQLite has.

mod backup;
mod damage;
mod folder;
mod large;
mod rows;
mod sqlite;
mod suite;
