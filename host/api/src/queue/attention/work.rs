//! Rules about schedules and webhooks.

use wasmill_access::{Identity, Scope};
use wasmill_model::TimeDelta;

use super::item::{ItemView, Items};
use crate::state::Api;

/// Pending deliveries from which on they are late, and their age.
const PENDING_MAX: u64 = 100;
const PENDING_AGE_MAX: TimeDelta = TimeDelta::minutes(5);

pub(super) async fn check(api: &Api, sender: &Identity, items: &mut Items) {
    check_schedules(api, sender, items).await;
    check_webhooks(api, items).await;
}

/// Adds schedules whose due run could not start.
async fn check_schedules(api: &Api, sender: &Identity, items: &mut Items) {
    let schedules = match api.store.schedules().await {
        Ok(schedules) => schedules,
        Err(error) => return items.add_unreadable(&error),
    };
    for schedule in schedules {
        let Some(error) = schedule.last_error else { continue };
        let name = schedule.name;
        // It may quote an input.
        let why = if sender.may(Scope::Read) { format!(": {error}") } else { String::new() };
        let detail = format!("schedule {name} could not start a due run{why}");
        let action = "correct the schedule or its plugin; it is tried again until it starts";
        let mut item = ItemView::error("schedule-error", detail, action);
        if let Some(next_at) = schedule.next_at.filter(|next_at| *next_at <= api.clock.now()) {
            item = item.since(next_at);
        }
        items.add(item.link(format!("/schedules/{name}")).of(name.to_string()));
    }
}

async fn check_webhooks(api: &Api, items: &mut Items) {
    let backlog = match api.store.delivery_backlog().await {
        Ok(backlog) => backlog,
        Err(error) => return items.add_unreadable(&error),
    };
    let oldest = backlog.oldest.filter(|oldest| api.clock.now() - *oldest > PENDING_AGE_MAX);
    if backlog.pending > PENDING_MAX || oldest.is_some() {
        let detail = format!("{} webhook deliveries are pending", backlog.pending);
        let action = "see whether the receivers answer; GET /task/{id}/webhook shows the attempts of one";
        let mut item = ItemView::warning("webhooks-late", detail, action).count(backlog.pending);
        if let Some(oldest) = backlog.oldest {
            item = item.since(oldest);
        }
        items.add(item);
    }
    let given_up = api.history.webhooks_given_up();
    if given_up > 0 {
        let detail = format!("this host gave up {given_up} webhook deliveries in the last hour");
        let action = "correct the receiver, then POST /task/{id}/webhook/retry";
        items.add(ItemView::error("webhooks-given-up", detail, action).count(given_up));
    }
}
