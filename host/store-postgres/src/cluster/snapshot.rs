//! The oldest snapshot of the database: while somebody holds it, what tasks leave behind cannot be cleaned up.

use std::time::Duration;

use wasmill_model::boot_time;
use wasmill_store::HeldSnapshot;

use crate::connection::database::Connection;
use crate::connection::fault::Result;
use crate::read::rows::{get, number};

/// A snapshot that is held for longer is worth a word.
pub(crate) const HELD_MIN: Duration = Duration::from_secs(60);

/// Only sessions of this database count, and standbys that report what they read. Cleaners have no user, and hold up
/// nobody. When a transaction began is shown to its own user and to those with `pg_read_all_stats`.
const OLDEST: &str = "
    SELECT holder, ended_by, id, age, (extract(epoch FROM clock_timestamp() - since) * 1000)::bigint FROM (
        SELECT format('session %s of user %s%s', pid, usename, ' (' || nullif(application_name, '') || ')') AS holder,
            format('SELECT pg_terminate_backend(%s)', pid) AS ended_by,
            format('%s %s %s', pid, backend_xid, backend_xmin) AS id,
            greatest(age(backend_xid), age(backend_xmin))::bigint AS age, xact_start AS since
        FROM pg_stat_activity
        WHERE usesysid IS NOT NULL AND pid <> pg_backend_pid() AND (datname = current_database() OR datname IS NULL)
        UNION ALL
        SELECT format('prepared transaction %L of user %s', gid, owner), format('ROLLBACK PREPARED %L', gid), gid,
            age(transaction)::bigint, prepared
        FROM pg_prepared_xacts WHERE database = current_database()
        UNION ALL
        SELECT format('replication slot %s', slot_name), format('SELECT pg_drop_replication_slot(%L)', slot_name),
            format('%s %s', slot_name, xmin), age(xmin)::bigint, NULL
        FROM pg_replication_slots) AS held
    WHERE age IS NOT NULL ORDER BY age DESC LIMIT 1";

/// Returns the oldest snapshot and what tells it from others, however short it is held.
async fn find(connection: &Connection) -> Result<Option<(HeldSnapshot, String)>> {
    let Some(row) = connection.optional(OLDEST, &[]).await? else { return Ok(None) };
    let held_ms: Option<i64> = get(&row, 4)?;
    let held = held_ms.map(|ms| Duration::from_millis(u64::try_from(ms).unwrap_or(0)));
    let snapshot =
        HeldSnapshot { holder: get(&row, 0)?, ended_by: get(&row, 1)?, held, transactions: number(&row, 3)? };
    Ok(Some((snapshot, get(&row, 2)?)))
}

/// Returns the oldest snapshot if it is held for that long, as far as one can tell at once.
pub(crate) async fn oldest(connection: &Connection, held_min: Duration) -> Result<Option<HeldSnapshot>> {
    let found = find(connection).await?.map(|(snapshot, _)| snapshot);
    Ok(found.filter(|snapshot| snapshot.held.is_some_and(|held| held >= held_min)))
}

/// Returns for how many transactions the oldest snapshot is held.
pub(crate) async fn held_transactions(connection: &Connection) -> Result<u64> {
    Ok(find(connection).await?.map_or(0, |(snapshot, _)| snapshot.transactions))
}

/// Watches for how long the oldest snapshot is held.
#[derive(Debug, Default)]
pub(crate) struct SnapshotWatch {
    /// What tells the one of the last look from others, and when it was first seen.
    seen: Option<(String, Duration)>,
    is_told: bool,
}

impl SnapshotWatch {
    /// Looks, and returns the oldest snapshot if it is held for that long. Says so once in the log.
    pub(crate) async fn look(
        &mut self,
        connection: &Connection,
        held_min: Duration,
    ) -> Result<Option<HeldSnapshot>> {
        let Some((mut snapshot, id)) = find(connection).await? else {
            *self = Self::default();
            return Ok(None);
        };
        let now = boot_time();
        let since = match self.seen.take().filter(|(seen, _)| *seen == id) {
            Some((_, since)) => since,
            None => {
                self.is_told = false;
                now
            }
        };
        self.seen = Some((id, since));
        let held = snapshot.held.unwrap_or_default().max(now.saturating_sub(since));
        snapshot.held = Some(held);
        if held < held_min {
            return Ok(None);
        }
        if !std::mem::replace(&mut self.is_told, true) {
            let HeldSnapshot { holder, ended_by, transactions, .. } = &snapshot;
            tracing::warn!(
                holder,
                transactions,
                ended_by,
                "somebody holds a snapshot of the database: what tasks leave behind cannot be cleaned up, the tables grow \
                 until it ends"
            );
        }
        Ok(Some(snapshot))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::address::Address;
    use crate::connection::server::{Purpose, Server};
    use crate::postgres_server::PostgresServer;

    /// A connection that looks, and another one.
    async fn connect(database: &str) -> Option<(Arc<Connection>, Arc<Connection>)> {
        let address = Address::new(&PostgresServer::shared()?.create(database), None, None).expect("a URL");
        let server = Server::new(address, "public");
        let connect = async |purpose| server.connect(purpose).await.expect("connected");
        Some((connect(Purpose::Lease).await, connect(Purpose::Live).await))
    }

    async fn hold(holder: &Connection) {
        holder.batch("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1").await.expect("it runs");
    }

    #[tokio::test]
    async fn the_session_that_holds_a_snapshot_is_named_with_what_ends_it() {
        let Some((connection, holder)) = connect("held_snapshot").await else { return };
        assert_eq!(oldest(&connection, Duration::ZERO).await.expect("read"), None);
        hold(&holder).await;
        for _ in 0..3 {
            connection.batch("SELECT pg_current_xact_id()").await.expect("it runs");
        }
        let held = oldest(&connection, Duration::ZERO).await.expect("read").expect("it is held");
        let pid: i32 = holder.one("SELECT pg_backend_pid()", &[]).await.expect("read").get(0);
        assert_eq!(held.holder, format!("session {pid} of user wasmill (wasmill live)"));
        assert!(held.transactions >= 3, "{held:?}");
        assert_eq!(oldest(&connection, HELD_MIN).await.expect("read"), None, "it is young");
        connection.batch(&held.ended_by).await.expect("ended");
        holder.closed().await;
        // Its process ends a little later.
        while oldest(&connection, Duration::ZERO).await.expect("read").is_some() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    #[tokio::test]
    async fn who_may_not_see_when_a_transaction_began_watches_it() {
        let Some((connection, holder)) = connect("watched_snapshot").await else { return };
        connection.batch("CREATE ROLE watches_snapshots; SET ROLE watches_snapshots").await.expect("it runs");
        hold(&holder).await;
        assert_eq!(oldest(&connection, Duration::ZERO).await.expect("read"), None, "it cannot tell");
        let (mut watch, held_min) = (SnapshotWatch::default(), Duration::from_millis(50));
        assert_eq!(watch.look(&connection, held_min).await.expect("read"), None);
        tokio::time::sleep(held_min).await;
        let held = watch.look(&connection, held_min).await.expect("read").expect("it is held");
        assert!(held.held >= Some(held_min) && held.holder.starts_with("session "), "{held:?}");
        // Another one begins anew.
        holder.batch("COMMIT; SELECT pg_current_xact_id()").await.expect("it runs");
        hold(&holder).await;
        assert_eq!(watch.look(&connection, held_min).await.expect("read"), None);
    }
}
