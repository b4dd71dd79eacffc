//! Tests of the backend in PostgreSQL: the suite of all backends. They need the programs of a PostgreSQL server; without
//! them they are skipped, unless `WASMILL_TEST_REQUIRE` asks for all.

mod batches;
mod cluster;
mod cuts;
mod floors;
mod hints;
mod hosts;
mod inbox;
mod live;
mod lost;
mod plugins;
#[path = "../../../../tests/harness/postgres.rs"]
#[allow(dead_code, unreachable_pub, reason = "the product tests use all of it")]
mod postgres;
mod proxy;
mod shared;
#[path = "../../../../tests/harness/skip.rs"]
#[allow(unreachable_pub, reason = "the product tests use it")]
mod skip;
mod standby;
mod suite;
