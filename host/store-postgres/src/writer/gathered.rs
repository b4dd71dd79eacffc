//! What many commands of a batch write with one statement for all of them, before they run one by one.
//!
//! Commands of one batch are concurrent, since none has been answered: they may take effect in any order.

use std::collections::{HashMap, HashSet};

use wasmill_model::TaskId;

use crate::connection::database::Connection;
use crate::connection::fault::Result;
use crate::queue::end_rows::EndRows;
use crate::queue::new_rows::NewRows;

/// The rows of all commands.
#[derive(Debug, Default)]
pub(crate) struct Gathered<'a> {
    pub(crate) new: NewRows<'a>,
    pub(crate) ends: EndRows<'a>,
    /// Waiting tasks as of the last commit.
    pub(crate) waiting: u64,
}

/// What was written; each command takes its own out.
#[derive(Debug, Default)]
pub(crate) struct Written {
    pub(crate) new: HashMap<TaskId, i64>,
    pub(crate) ended: HashSet<i64>,
}

impl Gathered<'_> {
    pub(crate) async fn write(&self, connection: &Connection) -> Result<Written> {
        Ok(Written { new: self.new.insert(connection).await?, ended: self.ends.write(connection).await? })
    }
}
