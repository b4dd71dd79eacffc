//! The operations of the queue.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use wasmill_model::{NewTask, PluginName, TaskId, TimeDelta, Timestamp, Transition};
use wasmill_store::rules::finish::Finish;
use wasmill_store::rules::group_limits::GroupLimits;
use wasmill_store::{
    CancelOutcome, CancelledMany, Claim, ClaimQuota, Claims, DependencyResults, Filter, IdempotencyKey,
    LogPart, RemoveOutcome, StoreError, StoredSteps, Submitted, TaskQueue, TaskRef,
};

use crate::dependency::results;
use crate::postgres::Postgres;
use crate::queue::cancel::Cancel;
use crate::queue::cancel_many::CancelMany;
use crate::queue::claim::ClaimReady;
use crate::queue::finish::FinishStopped;
use crate::queue::insert::Insert;
use crate::queue::pause::{self, Pause};
use crate::queue::remove::Remove;
use crate::queue::save::Save;
use crate::queue::{idempotency, promote, starts};
use crate::read::{filtered_list, queries};

/// The least that a host may claim at once beside others, and how long it then leaves the rest to them.
const SHARE_MIN: usize = 32;
const SHARE_PAUSE: TimeDelta = TimeDelta::milliseconds(50);

impl Postgres {
    /// Returns when the next task becomes available, if a claim would find nothing now: each would keep the others from
    /// writing for a moment.
    async fn nothing_to_claim(
        &self,
        quotas: &[ClaimQuota],
        now: Timestamp,
    ) -> Result<Option<Option<Timestamp>>, StoreError> {
        let mut may_be_due = false;
        for quota in quotas {
            let counts = self.stats.plugin_counts().get(&quota.plugin);
            let is_full = quota.concurrency.is_some_and(|concurrency| counts.running >= concurrency as u64);
            if counts.available > 0 && quota.tasks_max > 0 && !is_full {
                return Ok(None);
            }
            may_be_due |= counts.scheduled + counts.suspended > 0;
        }
        if !may_be_due {
            return Ok(Some(None));
        }
        let next = self.readers.read(async move |connection| promote::next_due(&connection).await).await?;
        Ok(if next.is_some_and(|next| next <= now) { None } else { Some(next) })
    }

    /// Returns how many tasks this host claims at once, so that the first that sees them leaves some to the others.
    fn share(&self) -> usize {
        let hosts = self.others.hosts().unsigned_abs();
        usize::try_from(self.stats.counts().waiting.div_ceil(hosts)).unwrap_or(usize::MAX).max(SHARE_MIN)
    }
}

#[async_trait]
impl TaskQueue for Postgres {
    async fn submit(
        &self,
        tasks: Vec<NewTask>,
        request: Option<(IdempotencyKey, Timestamp)>,
    ) -> Result<Submitted, StoreError> {
        self.writer.write(Insert { tasks, waiting_max: self.waiting_max, request }).await?
    }

    async fn find_submitted(
        &self,
        request: IdempotencyKey,
        now: Timestamp,
    ) -> Result<Option<Submitted>, StoreError> {
        self.readers
            .read(async move |connection| idempotency::find(&connection, &request, now).await)
            .await?
            .transpose()
    }

    async fn steps(&self, request: IdempotencyKey, now: Timestamp) -> Result<StoredSteps, StoreError> {
        self.readers.read(async move |connection| idempotency::steps(&connection, &request, now).await).await
    }

    async fn claim(
        &self,
        quotas: Vec<ClaimQuota>,
        tasks_max: usize,
        available_memory: u64,
        now: Timestamp,
    ) -> Result<Claims, StoreError> {
        let abandoned = self.abandoned.clone();
        let group_limits = Arc::clone(&self.group_limits.lock().unwrap_or_else(PoisonError::into_inner));
        let mut quotas = quotas;
        // A plugin may be listed twice.
        quotas.sort_unstable_by(|a, b| a.plugin.cmp(&b.plugin));
        quotas.dedup_by(|a, b| a.plugin == b.plugin);
        let (mut tasks_max, slots) = (tasks_max, tasks_max);
        if self.others.is_any() {
            if let Some(next_ready_at) = self.nothing_to_claim(&quotas, now).await? {
                return Ok(Claims { next_ready_at, ..Claims::default() });
            }
            tasks_max = tasks_max.min(self.share());
        }
        let claim = ClaimReady { quotas, tasks_max, available_memory, now, abandoned, group_limits };
        let mut claims = self.writer.write(claim).await?.into_claims();
        if tasks_max < slots && claims.claimed.len() == tasks_max {
            claims.next_ready_at = Some(now + SHARE_PAUSE);
        }
        Ok(claims)
    }

    fn limit_groups(&self, limits: GroupLimits) {
        *self.group_limits.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(limits);
    }

    async fn finish(
        &self,
        claim: &Claim,
        next: Transition,
        log: Option<LogPart>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.writer.write(Finish { claim: claim.clone(), next, log, now }).await
    }

    async fn finish_stopped(
        &self,
        claim: &Claim,
        log: Option<LogPart>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let finish = Finish { claim: claim.clone(), next: Transition::Requeued, log, now };
        self.writer.write(FinishStopped(finish)).await
    }

    async fn cancel(&self, id: TaskId, grace: Duration, now: Timestamp) -> Result<CancelOutcome, StoreError> {
        self.writer.write(Cancel { id, grace, now }).await
    }

    async fn find_open(&self, filter: Filter) -> Result<Vec<TaskRef>, StoreError> {
        self.readers.read(async move |connection| filtered_list::open(&connection, &filter).await).await
    }

    async fn cancel_many(
        &self,
        found: Vec<TaskRef>,
        filter: Filter,
        grace: Duration,
        now: Timestamp,
    ) -> Result<CancelledMany, StoreError> {
        self.writer.write(CancelMany { found, filter, grace, now }).await
    }

    async fn remove(&self, id: TaskId, grace: Duration, now: Timestamp) -> Result<RemoveOutcome, StoreError> {
        self.writer.write(Remove { id, grace, now }).await
    }

    async fn save(&self, claim: &Claim, state: Vec<u8>) -> Result<bool, StoreError> {
        self.writer.write(Save { claim: claim.clone(), state }).await
    }

    async fn restore(&self, claim: &Claim) -> Result<Option<Vec<u8>>, StoreError> {
        let claim = claim.clone();
        self.readers.read(async move |connection| queries::checkpoint(&connection, &claim).await).await
    }

    async fn dependency_results(&self, claim: &Claim) -> Result<DependencyResults, StoreError> {
        let claim = claim.clone();
        self.readers
            .read(async move |connection| results::dependency_results(&connection, &claim).await)
            .await
    }

    async fn recent_starts(&self, plugin: PluginName) -> Result<Vec<(Timestamp, usize)>, StoreError> {
        self.readers.read(async move |connection| starts::starts(&connection, &plugin).await).await
    }

    async fn pause(&self, plugin: Option<PluginName>, paused: bool) -> Result<(), StoreError> {
        self.writer.write(Pause { plugin, paused }).await
    }

    async fn paused(&self) -> Result<Vec<Option<PluginName>>, StoreError> {
        self.readers.read(async move |connection| pause::paused(&connection).await).await
    }
}
