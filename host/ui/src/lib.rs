//! The pages of the dashboard: records of the REST interface in, HTML out.
//!
//! `api` calls it, which fetches the records as any other client does. Each page is a pure function; nothing here
//! knows HTTP, the database or the clock. Everything that people or guests wrote passes `part::text` on its way to
//! a page.

pub mod act;
pub mod assets;
pub mod doctor;
pub mod filters;
pub mod find;
pub mod hosts;
pub mod keys;
pub mod live;
pub mod overview;
pub mod part;
pub mod plugins;
pub mod problem;
pub mod record;
pub mod schedules;
pub mod schema;
pub mod shell;
pub mod submit;
pub mod task;
pub mod tasks;

pub use filters::Filters;
pub use shell::{Page, Rights, Site};
