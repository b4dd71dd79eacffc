//! Tests of the backend in PostgreSQL: the suite of all backends. They need the programs of a PostgreSQL server; without
//! them they are skipped, unless `WASMILL_TEST_REQUIRE` asks for all.

mod cluster;
mod suite;
