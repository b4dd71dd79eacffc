//! Checks the floors of queues, where claims begin, and forgets them.

use async_trait::async_trait;

use crate::connection::database::Connection;
use crate::connection::fault::Result;
use crate::connection::server::{Purpose, Server};
use crate::read::rows::get;
use crate::writer::batch::{Batch, Operation};
use crate::writer::thread::WriterQueue;

/// Queues with an available task before their floor.
const LATE: &str = "
    SELECT f.plugin, f.task_group FROM queue_floor f
    WHERE (SELECT true FROM task t
        WHERE t.state = 'available' AND t.plugin = f.plugin AND t.task_group = f.task_group
            AND (t.sort_key, t.seq) < (f.sort_key, f.seq)
        ORDER BY t.sort_key, t.seq LIMIT 1)";
const ANY: &str = "SELECT EXISTS (SELECT FROM queue_floor)";
const FORGET: &str = "
    DELETE FROM queue_floor AS f USING unnest($1::text[], $2::text[]) AS late (plugin, task_group)
    WHERE f.plugin = late.plugin AND f.task_group = late.task_group";
const FORGET_ALL: &str = "DELETE FROM queue_floor";

/// Returns true if any queue has a floor.
pub(crate) async fn any(connection: &Connection) -> Result<bool> {
    get(&connection.one(ANY, &[]).await?, 0)
}

/// Forgets floors: of the queues of these plugins and groups, or all.
#[derive(Debug)]
struct ForgetFloors {
    late: Option<Vec<(String, String)>>,
}

#[async_trait]
impl Operation for ForgetFloors {
    type Answer = ();
    const DURABLE: bool = false;

    async fn run(&self, batch: &mut Batch<'_>) -> Result<()> {
        match &self.late {
            Some(late) => {
                let (plugins, groups): (Vec<&str>, Vec<&str>) =
                    late.iter().map(|(plugin, group)| (plugin.as_str(), group.as_str())).unzip();
                batch.connection.execute(FORGET, &[&plugins, &groups]).await?;
            }
            None => {
                batch.connection.execute(FORGET_ALL, &[]).await?;
            }
        }
        batch.effects.wait_for_ready = true;
        Ok(())
    }
}

/// Forgets all floors once nobody holds a snapshot; before, those of queues with a task before it. There is none unless a
/// host of an earlier version, or somebody by hand, has made it available. It is looked for without the turn, from the very
/// beginning of each queue.
pub(crate) async fn check(server: Server, queue: WriterQueue, is_held: bool) -> Result<()> {
    let mut late = None;
    if is_held {
        let connection = server.connect(Purpose::Read).await?;
        let rows = connection.query(LATE, &[]).await?;
        if rows.is_empty() {
            return Ok(());
        }
        late = Some(rows.iter().map(|row| Ok((get(row, 0)?, get(row, 1)?))).collect::<Result<Vec<_>>>()?);
        tracing::warn!(
            queues = rows.len(),
            "tasks became available that claims did not look for: by a host of an earlier version, or by hand"
        );
    }
    // If it fails, the next look finds the same.
    let _ = queue.write(ForgetFloors { late }).await;
    Ok(())
}
