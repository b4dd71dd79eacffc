//! What outlives the process.

mod askers;
mod data_folder;
mod database_faults;
mod disk;
mod durability;
mod hosts;
mod inbox;
mod pgbouncer;
mod postgres;
