//! Metrics of the hosts that share the database, and of the lease of this one.

use wasmill_store::{HeldSnapshot, Host, InboxBacklog, differing};

use super::exposition::Metric;
use crate::state::Api;

/// Collects them. What all hosts know alike is exported by each of them.
pub(super) async fn metrics(api: &Api) -> Vec<Metric> {
    let lease = api.store.lease();
    let mut remaining = Metric::gauge(
        "wasmill_lease_remaining_seconds",
        "Time until the guests of this host freeze unless it renews its lease; missing with the embedded database",
    );
    if let Some(time) = lease.remaining() {
        remaining.add(&[], time.as_secs_f64());
    }
    let mut metrics = vec![
        remaining,
        Metric::counter(
            "wasmill_lease_frozen_seconds",
            "Time that guests of this host were frozen because its lease had run out",
        )
        .value(lease.frozen().as_secs_f64()),
        Metric::gauge("wasmill_on_duty", "1 if this host does retention and webhooks for all")
            .value(f64::from(u8::from(api.store.is_on_duty()))),
        held_snapshot(api),
    ];
    // Unknown if the database cannot be read.
    if let Ok(InboxBacklog { rows, oldest }) = api.store.inbox_backlog().await {
        metrics.push(
            Metric::gauge(
                "wasmill_inbox_rows",
                "Rows of the inbox that are no tasks yet, counted up to 10,000",
            )
            .value(rows as f64),
        );
        metrics.push(
            Metric::gauge(
                "wasmill_inbox_oldest_age_seconds",
                "Age of the oldest row of the inbox; 0 if it is empty",
            )
            .value(oldest.as_secs_f64()),
        );
    }
    if let Ok(hosts) = api.store.hosts().await {
        metrics.extend(hosts_metrics(&hosts));
    }
    metrics
}

fn held_snapshot(api: &Api) -> Metric {
    let metric = Metric::gauge(
        "wasmill_database_snapshot_seconds",
        "For how long the session of PostgreSQL in the label session has kept it from cleaning up; 0 if it is less than a minute, or this host is not on duty",
    );
    match api.store.held_snapshot() {
        Some(HeldSnapshot { holder, held, .. }) => {
            metric.with(&[("session", &holder)], held.unwrap_or_default().as_secs_f64())
        }
        None => metric.value(0.0),
    }
}

fn hosts_metrics(hosts: &[Host]) -> [Metric; 2] {
    let count = |is_so: &dyn Fn(&Host) -> bool| hosts.iter().filter(|host| is_so(host)).count() as f64;
    let is_draining = |host: &Host| host.report.is_draining;
    let own = hosts.iter().find(|host| host.is_self);
    let differs = |host: &Host| {
        own.is_some_and(|own| host.is_live && !differing(&own.settings, &host.settings).is_empty())
    };
    [
        Metric::gauge("wasmill_hosts", "Hosts by state: live, draining, dead until their tasks are put back")
            .with(&[("state", "live")], count(&|host| host.is_live && !is_draining(host)))
            .with(&[("state", "draining")], count(&|host| host.is_live && is_draining(host)))
            .with(&[("state", "dead")], count(&|host| !host.is_live)),
        Metric::gauge(
            "wasmill_hosts_other_settings",
            "Live hosts whose settings differ from those of this host",
        )
        .value(count(&differs)),
    ]
}
