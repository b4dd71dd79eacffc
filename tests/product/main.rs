//! What Wasmill promises, asked of the real binary over real sockets.

mod cli;
mod contract;
mod durability;
mod guests;
mod plugins;
mod problems;
mod stop;
