//! Tests of the product: the real binary, over real sockets.

mod access;
mod cli;
mod docs;
mod guests;
mod http;
mod storage;
mod tasks;
