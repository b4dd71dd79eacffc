//! Rules about the server: database, disk, queue, hosts, keys.

use std::path::Path;

use rustix::fs::statvfs;
use wasmill_access::{Identity, Scope};
use wasmill_model::TimeDelta;

use super::item::{ItemView, Items};
use crate::state::Api;

/// Below the minimum, the first busy hour fills the disk.
pub const DISK_FREE_MIN: u64 = 64 << 20;
/// What a busy server should have.
pub const DISK_FREE_RECOMMENDED: u64 = 1 << 30;

/// How long before its end a key or a certificate is mentioned.
const ENDS_SOON: TimeDelta = TimeDelta::days(14);

/// Part of the queue from which on it is nearly full.
const NEARLY_FULL: f64 = 0.9;

pub(super) async fn check(api: &Api, sender: &Identity, items: &mut Items) {
    let lease = api.store.lease();
    if !lease.is_valid(lease.term()) {
        let detail = "this host has not renewed its lease in time, so its guests are frozen until it does";
        items
            .add(ItemView::error("lease-lost", detail, "see whether it reaches the database").link("/hosts"));
    }
    check_disk(api, items).await;
    if api.runtime.is_blocked_by_swap() {
        let detail = "swap was enabled while the server runs, so pooled guests no longer start";
        items.add(
            ItemView::error("swap-enabled", detail, "swapoff -a, then restart the server").link("/readyz"),
        );
    }
    if api.scheduler.is_draining() {
        let detail = "the server drains: it accepts and starts no tasks";
        items.add(
            ItemView::warning("draining", detail, "restart it; only a restart ends a drain").link("/stats"),
        );
    }
    if api.scheduler.is_paused() {
        let detail = "the queue is paused: tasks are accepted, and none starts";
        items.add(ItemView::warning("queue-paused", detail, "POST /resume").link("/stats"));
    }
    check_queue(api, items).await;
    if api.scheduler.is_memory_bound() {
        let detail = "the next task of the queue waits for memory, and others do not overtake it";
        let action = "raise --memory-total, or lower the memory limits or the concurrency of plugins";
        items.add(ItemView::warning("memory-short", detail, action).link("/stats"));
    }
    if api.stream_limit.is_used_up() {
        let detail = "as many streams and waiting requests are open as may be; further streams get 503";
        items.add(ItemView::warning("streams-used-up", detail, "close streams that nobody reads"));
    }
    check_hosts(api, items).await;
    check_certificate(api, items);
    if sender.may(Scope::Admin) {
        check_keys(api, items);
        check_audit(api, items);
    }
}

fn check_audit(api: &Api, items: &mut Items) {
    let lost = api.audit.lost();
    if lost > 0 {
        let detail = format!("{lost} lines of the audit could not be written since the start");
        let action = "free the disk of --audit-file; the log has the error";
        items.add(ItemView::warning("audit-lost", detail, action).count(lost).link("/metrics"));
    }
}

async fn check_disk(api: &Api, items: &mut Items) {
    let folder = api.config.data.clone();
    // A network file system may hang.
    let Ok(Some(free)) = tokio::task::spawn_blocking(move || free_bytes(&folder)).await else { return };
    let detail = format!("the disk of the data folder has {} MiB left", free >> 20);
    let action =
        "free some space, move --data to a larger disk, or keep less: --keep-for 1day --keep-max 100000";
    if free < DISK_FREE_MIN {
        items.add(ItemView::error("disk-full", detail, action));
    } else if free < DISK_FREE_RECOMMENDED {
        items.add(ItemView::warning("disk-full", detail, action));
    }
}

/// Returns the free bytes of a file system; `None` if it cannot say.
fn free_bytes(folder: &Path) -> Option<u64> {
    let stat = statvfs(folder).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

async fn check_queue(api: &Api, items: &mut Items) {
    let waiting = match api.store.counts().await {
        Ok(counts) => counts.waiting,
        Err(error) => return items.add_unreadable(&error),
    };
    let max = api.config.waiting_max;
    if (waiting as f64) < max as f64 * NEARLY_FULL {
        return;
    }
    let detail = format!("{waiting} tasks wait, and {max} may; further ones get 429");
    let action = "add slots or hosts, submit less, or raise --waiting-max";
    let item = if waiting >= max {
        ItemView::error("queue-full", detail, action)
    } else {
        ItemView::warning("queue-full", detail, action)
    };
    items.add(item.link("/task?state=waiting").count(waiting));
}

async fn check_hosts(api: &Api, items: &mut Items) {
    let hosts = match api.store.hosts().await {
        Ok(hosts) => hosts,
        Err(error) => return items.add_unreadable(&error),
    };
    for host in hosts.into_iter().filter(|host| !host.is_live) {
        let detail = format!(
            "host {} has not renewed its lease for {} s; other hosts take over its tasks",
            host.name,
            host.renewed.as_secs()
        );
        let action = "see why it is gone; it returns by itself once it reaches the database";
        items.add(ItemView::error("host-gone", detail, action).of(host.name).link("/hosts"));
    }
}

fn check_certificate(api: &Api, items: &mut Items) {
    let Some(tls) = &api.tls else { return };
    if tls.is_stale() {
        let detail = "the files of the certificate are no pair, so an earlier one is in force";
        items.add(ItemView::error("certificate-stale", detail, "correct the file that the log names"));
    }
    let (now, ends) = (api.clock.now(), tls.ends());
    if ends - now < ENDS_SOON {
        let what = if ends <= now { "ended" } else { "ends" };
        let detail =
            format!("the certificate of this server {what} at {}", ends.format("%Y-%m-%d %H:%M UTC"));
        let action = "replace the files of --tls-cert and --tls-key; they are read again by themselves";
        let item = if ends <= now {
            ItemView::error("certificate-expires", detail, action)
        } else {
            ItemView::warning("certificate-expires", detail, action)
        };
        items.add(item);
    }
}

fn check_keys(api: &Api, items: &mut Items) {
    if api.access.is_stale() {
        let detail = "the files of keys cannot be read, so earlier keys are in force";
        items.add(ItemView::error("keys-stale", detail, "correct the file that the log names"));
    }
    let now = api.clock.now();
    for key in api.access.keys().list() {
        let Some(expires) = key.expires.filter(|expires| *expires - now < ENDS_SOON) else { continue };
        let name = &key.name;
        let end = expires.format("%Y-%m-%d %H:%M UTC");
        let action = format!("wasmill key rotate {name}, or wasmill key revoke {}", key.id);
        let (code, what) =
            if expires <= now { ("key-expired", "expired") } else { ("key-expires", "expires") };
        let item = ItemView::warning(code, format!("key {name} ({}) {what} at {end}", key.id), action);
        items.add(item.of(name));
    }
}
