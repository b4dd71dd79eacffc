//! A plugin version without its code: kind, configuration, and what its guests share.

pub(crate) mod config;
pub(crate) mod context;
pub(crate) mod denial_log;
pub(crate) mod host_pattern;
pub(crate) mod info;
pub(crate) mod kind;
pub(crate) mod name_list;
pub(crate) mod output_pattern;
pub(crate) mod schema;
pub(crate) mod tcp_rule;
