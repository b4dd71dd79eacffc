//! Queries, on connections that only read.

pub(crate) mod ahead;
pub(crate) mod filtered_list;
pub(crate) mod logs;
pub(crate) mod queries;
pub(crate) mod readers;
pub(crate) mod rows;
pub(crate) mod task_row;
