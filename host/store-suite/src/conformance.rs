//! The cases that every backend passes. Create a test of each with [`conformance!`](crate::conformance!).

#![allow(missing_docs, reason = "the name of a case says what it checks")]

mod dependency;
mod reads;
pub mod schedules;
mod tasks;
pub mod webhook;

pub use dependency::{dependencies, dependency_results, dependents};
pub use reads::{events, log, read, search, tags, traces};
pub use tasks::{
    bulk, cancel_and_remove, children, claim, clock, fairness, files, finish, idempotency, insert,
    key_limits, posted, queue, recover, retry, suspend,
};

/// Creates a test of each case with a fresh [`Fixture`](crate::Fixture) of this type.
#[macro_export]
macro_rules! conformance {
    ($fixture:ty) => {
        $crate::conformance! { $fixture;
            insert: a_new_task_waits, a_duplicate_id_stores_no_task_of_the_request, a_full_queue_refuses_further_tasks,
                a_finished_task_frees_its_place_in_the_queue, an_empty_insert_succeeds,
                a_plugin_has_at_most_its_limit_of_waiting_tasks, the_limit_of_a_plugin_holds_under_concurrent_submits;
            key_limits: a_key_has_at_most_its_limit_of_waiting_tasks, every_end_of_a_wait_is_room_for_its_key,
                no_limit_of_a_key_is_exceeded_by_a_thousand_at_once, a_key_stores_at_most_its_bytes,
                a_checkpoint_does_not_count_and_a_removed_run_leaves_nothing,
                a_group_at_its_limit_of_running_tasks_delays_no_other;
            files: files_are_stored_with_their_task, a_content_that_no_task_takes_is_removed,
                what_a_host_was_writing_goes_with_it, a_retry_has_the_files_of_its_task,
                only_a_completed_run_leaves_files, files_count_for_the_key_of_their_task,
                a_dependent_gets_the_files_of_its_dependencies;
            claim: the_longest_available_task_of_each_plugin_is_claimed_first, only_requested_plugins_are_claimed,
                no_task_is_claimed_twice, a_claim_returns_everything_its_run_needs, a_plugin_gets_at_most_its_quota, a_claim_stops_at_the_first_task_beyond_available_memory,
                a_short_claim_returns_when_the_next_task_is_due, a_dropped_claim_is_requeued;
            finish: a_result_is_stored, the_type_of_a_result_is_stored, a_permanent_failure_is_stored, a_retry_waits_until_its_time,
                a_success_clears_the_previous_failure, a_requeue_does_not_count_the_attempt,
                a_claim_finishes_once, a_log_belongs_to_the_newest_attempt,
                a_task_keeps_the_digest_of_its_newest_attempt,
                a_task_keeps_the_usage_of_its_newest_attempt;
            cancel_and_remove: a_waiting_task_is_cancelled, a_running_task_is_cancelled_when_its_run_ends,
                a_stop_request_wins_over_any_outcome,
                a_stop_request_survives_a_host_crash,
                dependents_wait_until_the_run_of_a_cancelled_task_ends,
                a_remove_request_is_never_downgraded,
                a_cancelled_task_keeps_the_digest_of_its_run, a_finished_task_never_changes_state,
                an_unknown_task_is_neither_cancelled_nor_removed,
                a_task_is_removed_in_any_state_with_all_its_rows, a_late_finish_changes_nothing,
                a_late_claim_never_fits_another_task;
            read: a_page_is_newest_first, a_cursor_stays_valid_while_tasks_come_and_go,
                a_page_of_large_results_ends_early,
                a_checkpoint_survives_its_attempt, a_checkpoint_ends_with_its_task,
                a_revoked_claim_reads_no_checkpoint, progress_shows_while_the_task_runs,
                late_progress_is_never_visible, counts_follow_every_transition,
                waiting_tasks_are_counted_by_plugin;
            bulk: a_list_filters_by_state, a_list_filters_by_plugin_and_creation_time,
                a_filtered_list_finds_every_match_among_many_tasks, a_bulk_cancel_affects_matching_tasks_only,
                a_bulk_cancel_rechecks_tasks_that_changed, tasks_beyond_the_age_bound_are_pruned,
                tasks_beyond_the_count_bound_are_pruned, a_prune_step_is_bounded,
                large_results_shorten_a_prune_step;
            search: tasks_are_found_by_id_prefix, tasks_are_found_by_schedule_group_key_and_id_suffix, tasks_are_found_by_id_among_very_many,
                tasks_are_found_by_the_cause_of_their_failure,
                nothing_outside_a_reach_is_found,
                stored_and_ever_finished_tasks_are_counted_apart;
            log: lines_are_read_while_the_task_runs,
                lines_are_numbered_over_all_runs, a_cancelled_run_keeps_its_whole_log,
                line_numbers_stay_exact_in_json_over_many_runs;
            events: every_transition_is_published_after_its_commit, a_refused_operation_publishes_nothing,
                progress_is_published_on_request, event_numbers_are_never_reused_after_a_restart,
                get_after_events_waits_for_published_events;
            clock: a_task_created_in_the_future_runs_after_the_clock_went_back, a_task_created_in_the_future_runs_after_a_restart,
                a_recovered_task_created_in_the_future_runs_again,
                a_backoff_never_grows_when_the_clock_goes_back,
                a_wait_that_is_too_long_is_shortened_on_open, clock_jitter_changes_no_wait,
                a_suspension_never_grows_when_the_clock_goes_back,
                a_delay_is_shortened_and_a_calendar_time_is_not, a_requeued_task_is_available_after_the_clock_went_back;
            queue: a_scheduled_task_waits_until_its_time, a_scheduled_task_can_be_cancelled,
                a_step_of_priority_is_worth_a_minute_of_waiting,
                a_low_priority_task_runs_at_once_in_an_empty_queue,
                no_task_starves_behind_higher_priorities,
                one_priority_is_served_in_order_in_each_plugin,
                a_priority_counts_from_when_a_task_is_available,
                a_priority_survives_retries_requeues_and_restarts,
                many_tasks_promoted_at_once_are_all_claimed,
                the_tasks_ahead_are_counted_in_the_order_of_claims;
            fairness: plugins_are_served_round_robin, groups_are_served_round_robin, a_priority_counts_within_its_group,
                a_group_waits_for_one_task_of_a_longer_queue, a_scheduled_task_of_a_group_waits_until_its_time,
                a_group_survives_retries_requeues_and_restarts, a_plugin_at_its_quota_blocks_no_other, a_plugin_with_more_groups_than_its_quota_leaves_no_slot_empty,
                a_group_without_available_tasks_is_skipped, a_task_of_a_group_runs_after_the_clock_went_back,
                thousands_of_groups_are_all_served;
            idempotency: a_repeated_request_gets_its_first_answer, an_idempotency_key_used_for_another_request_is_refused,
                a_refused_request_does_not_use_its_key, an_idempotency_key_expires_after_a_day,
                concurrent_requests_with_one_key_are_stored_once, a_unique_key_has_one_unfinished_task,
                the_steps_of_a_request_are_added_up, a_manual_run_with_a_key_starts_once,
                a_submit_can_return_the_holder_of_a_unique_key, a_unique_key_is_free_once_its_task_has_finished,
                a_unique_key_is_unique_within_its_space;
            tags: a_list_filters_by_tags, tags_stay_with_a_task_in_every_state,
                a_bulk_cancel_filters_by_tags, tags_of_refused_tasks_are_not_stored;
            retry: every_attempt_is_stored_with_its_outcome, attempts_are_removed_with_their_task,
                a_retry_copies_the_request_of_its_task, a_pause_lasts_until_it_is_resumed,
                tasks_are_found_page_by_page_while_others_arrive;
            suspend: a_suspended_task_resumes_at_its_time_with_its_state,
                steps_share_an_attempt_with_its_usage_and_log,
                a_failed_step_is_retried_from_its_initial_state,
                a_requeued_step_does_not_count, a_step_that_a_crash_ended_runs_again,
                a_suspended_task_can_be_cancelled, a_revoked_claim_suspends_nothing;
            posted: an_event_wakes_a_task_that_waits_for_one, an_event_leaves_a_task_that_waits_for_time_suspended,
                a_task_that_gets_no_event_resumes_at_its_time, an_event_before_the_suspension_wakes_at_once,
                events_survive_a_crash_until_a_run_has_saved, a_retry_gets_the_events_of_the_attempt_before,
                a_revoked_claim_takes_no_event, an_ended_task_takes_no_events_and_keeps_none,
                a_task_keeps_a_bounded_number_of_events, a_repeated_post_stores_one_event,
                a_woken_task_takes_its_turn_and_is_counted;
            children: children_are_tasks_of_their_own, a_name_is_submitted_once, the_end_of_a_child_wakes_its_parent,
                the_end_of_the_last_child_wakes_its_parent, a_child_that_ends_before_the_suspension_wakes_at_once,
                the_end_of_a_parent_cancels_its_children, the_removal_of_a_parent_cancels_children_and_theirs,
                thousands_of_children_are_cancelled_also_after_a_crash, a_revoked_claim_submits_and_reads_nothing,
                children_are_bounded_in_number_and_depth, an_ended_child_is_kept_until_its_parent_has_ended,
                one_look_at_children_is_bounded, a_parent_may_have_dependencies_and_dependents;
            schedules: a_schedule_is_created_replaced_and_removed, a_schedule_managed_elsewhere_is_left_unchanged,
                the_number_of_schedules_is_limited, a_schedule_put_again_stays_due,
                an_evaluated_run_is_not_due_again_after_the_clock_went_back,
                a_run_and_the_next_due_time_are_one_write, a_plan_for_an_older_revision_is_not_applied,
                a_nearly_full_queue_takes_as_many_runs_as_fit,
                a_run_beyond_the_limit_of_its_plugin_is_refused_without_changes, runs_of_a_schedule_overlap_only_if_allowed,
                a_held_unique_key_skips_a_run, a_manual_run_leaves_the_next_due_time,
                a_paused_schedule_is_not_due_and_resumes_from_now, an_error_is_recorded_until_the_schedule_runs;
            dependencies: a_task_waits_until_the_last_one_it_depends_on_has_completed,
                a_failure_cancels_all_transitive_dependents,
                a_finished_dependency_counts_like_a_later_one,
                outcomes_are_stored_for_a_task_cancelled_at_once,
                a_cancelled_or_removed_task_cancels_its_dependents,
                a_blocked_task_can_be_cancelled_and_removed,
                an_unknown_dependency_is_refused,
                a_batch_may_depend_on_its_own_tasks_and_on_key_holders,
                a_delay_and_a_priority_apply_once_dependencies_finish,
                a_blocked_task_is_not_claimed,
                a_long_chain_and_many_dependents_are_resolved,
                the_dispatcher_is_woken_when_dependencies_release_tasks,
                concurrent_finishes_and_submits_lose_no_dependent,
                dependencies_survive_a_restart,
                a_retry_keeps_its_dependencies,
                a_released_task_is_available_after_the_clock_went_back;
            dependents: dependents_are_listed_newest_first_in_pages,
                a_dependent_stays_listed_until_it_is_removed;
            dependency_results: dependency_results_are_in_request_order,
                needed_dependency_results_are_not_pruned,
                a_missing_dependency_result_is_named,
                tasks_kept_for_dependents_count_and_hide_no_others;
            webhook: a_finished_task_makes_its_delivery_due, a_webhook_is_triggered_by_its_final_states_only,
                a_failed_delivery_is_retried_when_due, the_newest_delivery_attempts_are_kept,
                a_redelivery_request_makes_a_delivery_due, due_deliveries_survive_a_restart,
                a_task_failed_by_crashes_has_a_delivery, one_origin_does_not_hide_the_others,
                a_delivery_is_removed_with_its_task, a_late_delivery_attempt_changes_nothing, the_backlog_is_counted,
                no_delivery_waits_for_the_clock_to_catch_up, a_retry_keeps_its_webhook,
                a_redelivery_counts_its_attempts_anew,
                an_attempt_in_flight_does_not_end_a_redelivery,
                a_pending_delivery_keeps_its_task,
                deliveries_beyond_their_bounds_are_dropped_and_counted,
                a_redelivery_request_during_pruning_keeps_the_task;
            traces: a_task_keeps_its_trace_and_its_spans_are_recorded_when_they_end,
                the_span_of_a_crashed_run_is_recorded_by_the_next_host, every_end_of_a_task_records_its_span_once,
                an_unsampled_trace_is_propagated_and_not_recorded;
            recover: tasks_survive_a_restart, a_recovered_task_is_first_in_the_queue,
                the_third_crash_fails_the_task, a_claim_from_before_a_crash_is_revoked,
                a_closed_store_refuses_everything, a_second_close_changes_nothing;
        }
    };
    ($fixture:ty; $($module:ident: $($case:ident),+;)+) => {$(
        mod $module {
            $(#[tokio::test]
            async fn $case() {
                let fixture = <$fixture as $crate::Fixture>::new();
                $crate::conformance::$module::$case(&fixture).await;
            })+
        }
    )+};
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    /// Returns the names of the cases in a folder.
    fn cases(folder: &Path) -> Vec<String> {
        let mut names = Vec::new();
        for entry in fs::read_dir(folder).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                names.extend(cases(&path));
                continue;
            }
            let source = fs::read_to_string(&path).expect("a source file");
            let starts = source.split("pub async fn ").skip(1).filter_map(|rest| rest.split_once('('));
            let is_case = |rest: &str| rest.trim_start().starts_with("fixture: &impl Fixture");
            names.extend(starts.filter(|(_, rest)| is_case(rest)).map(|(name, _)| name.to_owned()));
        }
        names
    }

    #[test]
    fn every_case_is_named_in_the_macro() {
        let source =
            PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo runs the tests")).join("src");
        let this = fs::read_to_string(source.join("conformance.rs")).expect("this file");
        let named: Vec<_> = this.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
        let cases = cases(&source.join("conformance"));
        assert!(cases.len() > 150, "{}", cases.len());
        let missing: Vec<_> = cases.iter().filter(|case| !named.contains(&case.as_str())).collect();
        assert!(missing.is_empty(), "never run: {missing:?}");
    }
}
