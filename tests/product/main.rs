//! What Wasmill promises, asked of the real binary over real sockets.

mod cli;
mod compiling;
mod contract;
mod durability;
mod examples;
mod guests;
mod manifests;
mod many;
mod plugins;
mod problems;
mod stop;
mod storage;
mod third_party;
