//! What Wasmill promises, asked of the real binary over real sockets.

mod cancel_matrix;
mod cli;
mod cli_follow;
mod cli_run;
mod cli_terminal;
mod cli_tour;
mod compiling;
mod contract;
mod drain;
mod durability;
mod examples;
mod fairness;
mod follow;
mod grace;
mod guests;
mod limits;
mod logs;
mod manifests;
mod many;
mod memory;
mod plugins;
mod problems;
mod stop;
mod storage;
mod third_party;
mod waits;
