//! What outlives the process.

mod data_folder;
mod disk;
mod durability;
mod hosts;
mod inbox;
mod postgres;
