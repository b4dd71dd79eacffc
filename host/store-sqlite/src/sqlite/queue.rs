//! The operations of the queue.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use wasmill_model::{NewTask, PluginName, TaskId, Timestamp, Transition};
use wasmill_store::rules::finish::Finish;
use wasmill_store::rules::group_limits::GroupLimits;
use wasmill_store::{
    CancelOutcome, CancelledMany, Claim, ClaimQuota, Claims, DependencyResults, Filter, IdempotencyKey,
    LogPart, RemoveOutcome, StoreError, StoredSteps, Submitted, TaskQueue, TaskRef,
};

use crate::dependency::results;
use crate::queue::cancel::Cancel;
use crate::queue::cancel_many::CancelMany;
use crate::queue::claim::ClaimReady;
use crate::queue::finish::FinishStopped;
use crate::queue::insert::Insert;
use crate::queue::pause::{self, Pause};
use crate::queue::remove::Remove;
use crate::queue::save::Save;
use crate::queue::{idempotency, starts};
use crate::read::{filtered_list, queries};
use crate::sqlite::Sqlite;

#[async_trait]
impl TaskQueue for Sqlite {
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
        self.readers.read(move |connection| idempotency::find(connection, &request, now)).await?.transpose()
    }

    async fn steps(&self, request: IdempotencyKey, now: Timestamp) -> Result<StoredSteps, StoreError> {
        self.readers.read(move |connection| idempotency::steps(connection, &request, now)).await
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
        let claim = ClaimReady { quotas, tasks_max, available_memory, now, abandoned, group_limits };
        Ok(self.writer.write(claim).await?.into_claims())
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

    async fn cancel(
        &self,
        id: TaskId,
        _grace: Duration,
        now: Timestamp,
    ) -> Result<CancelOutcome, StoreError> {
        self.writer.write(Cancel { id, now }).await
    }

    async fn find_open(&self, filter: Filter) -> Result<Vec<TaskRef>, StoreError> {
        self.readers.read(move |connection| filtered_list::open(connection, &filter)).await
    }

    async fn cancel_many(
        &self,
        found: Vec<TaskRef>,
        filter: Filter,
        _grace: Duration,
        now: Timestamp,
    ) -> Result<CancelledMany, StoreError> {
        self.writer.write(CancelMany { found, filter, now }).await
    }

    async fn remove(
        &self,
        id: TaskId,
        _grace: Duration,
        now: Timestamp,
    ) -> Result<RemoveOutcome, StoreError> {
        self.writer.write(Remove { id, now }).await
    }

    async fn save(&self, claim: &Claim, state: Vec<u8>) -> Result<bool, StoreError> {
        self.writer.write(Save { claim: claim.clone(), state }).await
    }

    async fn restore(&self, claim: &Claim) -> Result<Option<Vec<u8>>, StoreError> {
        let claim = claim.clone();
        self.readers.read(move |connection| queries::checkpoint(connection, &claim)).await
    }

    async fn dependency_results(&self, claim: &Claim) -> Result<DependencyResults, StoreError> {
        let claim = claim.clone();
        self.readers.read(move |connection| results::dependency_results(connection, &claim)).await
    }

    async fn recent_starts(&self, plugin: PluginName) -> Result<Vec<(Timestamp, usize)>, StoreError> {
        self.readers.read(move |connection| starts::starts(connection, &plugin)).await
    }

    async fn pause(&self, plugin: Option<PluginName>, paused: bool) -> Result<(), StoreError> {
        self.writer.write(Pause { plugin, paused }).await
    }

    async fn paused(&self) -> Result<Vec<Option<PluginName>>, StoreError> {
        self.readers.read(pause::paused).await
    }
}
