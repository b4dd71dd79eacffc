//! What many commands of a batch write with one statement for all of them, before they run one by one.
//!
//! Commands of one batch are concurrent, since none has been answered: they may take effect in any order.

use std::collections::{HashMap, HashSet};

use wasmill_model::{NewTask, TaskId};

use crate::connection::database::Connection;
use crate::connection::fault::Result;
use crate::queue::end_rows::EndRows;
use crate::queue::new_rows::NewRows;

/// The rows of all commands.
#[derive(Debug)]
pub(crate) struct Gathered<'a> {
    pub(crate) new: NewRows<'a>,
    pub(crate) ends: EndRows<'a>,
    /// Waiting tasks as far as this host knows.
    waiting: u64,
    /// The smallest limit of waiting tasks of those who add some.
    waiting_max: u64,
}

/// What was written; each command takes its own out.
#[derive(Debug, Default)]
pub(crate) struct Written {
    pub(crate) new: HashMap<TaskId, i64>,
    pub(crate) ended: HashSet<i64>,
}

impl<'a> Gathered<'a> {
    pub(crate) fn new(waiting: u64) -> Self {
        Self { new: NewRows::default(), ends: EndRows::default(), waiting, waiting_max: u64::MAX }
    }

    /// Adds a new task if it is sure that the queue has room for it: others may have stored some meanwhile, see
    /// [`Gathered::fits`].
    pub(crate) fn push_new(&mut self, task: &'a NewTask, webhook_on: Option<i64>, waiting_max: u64) {
        if self.waiting.saturating_add(self.new.len() as u64) < waiting_max {
            self.new.push(task, None, webhook_on);
            self.waiting_max = self.waiting_max.min(waiting_max);
        }
    }

    /// Returns true if the queue had room for all new tasks, with so many waiting before them.
    pub(crate) fn fits(&self, waiting: u64) -> bool {
        self.new.len() == 0 || waiting.saturating_add(self.new.len() as u64) <= self.waiting_max
    }

    /// Writes them; the ends do not wait for the answers about the new tasks.
    pub(crate) async fn write(&self, connection: &Connection) -> Result<Written> {
        let (new, ended) = tokio::try_join!(self.new.insert(connection), self.ends.write(connection))?;
        Ok(Written { new, ended })
    }
}
