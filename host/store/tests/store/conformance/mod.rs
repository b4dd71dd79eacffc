//! What every backend must do. A backend runs all of it with `suite!(ItsPlace)`.

pub(crate) mod again;
pub(crate) mod claim;
pub(crate) mod clock;
pub(crate) mod depend;
pub(crate) mod end;
pub(crate) mod events;
pub(crate) mod finish;
pub(crate) mod insert;
pub(crate) mod keys;
pub(crate) mod lanes;
pub(crate) mod line;
pub(crate) mod log;
pub(crate) mod many;
pub(crate) mod read;
pub(crate) mod recover;
pub(crate) mod schedules;
pub(crate) mod search;
pub(crate) mod suspend;
pub(crate) mod tags;
pub(crate) mod webhook;

/// Makes a test of each case, on a fresh place.
macro_rules! suite {
    ($place:ty) => {
        $crate::conformance::suite! { $place;
            insert: a_new_task_waits, a_taken_id_stores_none_of_them, a_full_line_takes_no_more,
                a_final_task_makes_room, nothing_to_insert_is_no_error,
                a_plugin_has_no_more_waiting_than_its_bound, the_bound_of_a_plugin_holds_however_many_come_at_once;
            claim: the_longest_ready_of_each_plugin_comes_first, only_these_plugins_are_claimed,
                no_task_is_claimed_twice, a_claim_brings_all_that_the_run_needs, a_plugin_gets_no_more_than_its_share, a_claim_goes_as_far_as_there_is_room,
                too_few_ready_tells_when_the_next_is, a_dropped_claim_waits_again;
            finish: a_result_is_kept, a_lasting_failure_is_kept, a_retry_waits_until_its_time,
                a_success_forgets_the_failure_before, a_drain_gives_the_attempt_back,
                a_finish_works_once, a_log_belongs_to_the_newest_attempt,
                a_task_keeps_the_digest_of_its_newest_attempt,
                a_task_keeps_the_usage_of_its_newest_attempt;
            end: a_waiting_task_is_cancelled, a_running_task_is_cancelled_when_its_run_has_ended,
                whatever_a_guest_answers_that_was_asked_to_stop_its_task_is_cancelled,
                a_task_that_was_asked_to_stop_is_over_though_the_host_dies,
                what_waits_for_the_end_of_a_task_waits_until_its_guest_is_gone,
                a_wish_to_remove_is_never_taken_back,
                a_cancelled_task_keeps_the_digest_of_what_ran, a_final_task_stays_as_it_is,
                an_unknown_task_is_neither_cancelled_nor_removed,
                a_task_is_removed_in_any_state_with_all_it_has, a_late_finish_changes_nothing,
                a_late_claim_never_fits_another_task;
            read: a_page_is_newest_first, pages_stay_in_place_while_tasks_come_and_go,
                a_page_of_large_results_ends_early,
                a_checkpoint_outlives_its_attempt, a_checkpoint_ends_with_its_task,
                a_lost_claim_has_no_checkpoint, progress_shows_while_the_task_runs,
                late_progress_shows_nowhere, counts_follow_every_move,
                waiting_tasks_are_counted_by_plugin;
            many: a_list_shows_the_states_asked_for, a_list_shows_the_plugin_and_the_span_asked_for,
                a_filtered_list_loses_nothing_among_many_others, many_are_cancelled_and_only_those_meant,
                what_changed_since_it_was_found_is_judged_anew, tasks_that_ended_long_ago_are_pruned,
                tasks_that_are_too_many_are_pruned, one_step_prunes_no_more_than_its_share,
                large_results_make_a_step_of_pruning_shorter;
            search: tasks_are_found_by_how_their_ids_begin, tasks_are_found_by_schedule_group_key_and_end, tasks_are_found_by_id_among_very_many,
                what_is_stored_is_told_from_what_ever_ended;
            log: lines_are_read_while_the_task_runs,
                lines_of_all_runs_are_kept_with_numbers_of_their_own, a_cancelled_run_keeps_all_that_it_wrote_until_it_was_gone,
                lines_of_very_many_runs_keep_numbers_that_are_exact_in_json;
            events: every_move_is_told_once_it_is_committed, what_is_refused_is_not_told,
                progress_is_told_when_it_is_time, no_number_is_given_twice_though_the_host_starts_again,
                a_task_that_is_read_settled_has_its_events_told;
            clock: a_task_accepted_in_the_future_runs_though_the_clock_went_back, so_it_does_after_a_restart,
                a_recovered_task_of_the_future_runs_again,
                a_wait_between_attempts_never_grows_with_the_clock,
                a_wait_of_the_future_is_shortened_by_a_restart, a_wait_stays_as_it_is_while_the_clock_is_only_uneven,
                a_suspended_task_never_waits_longer_than_it_asked_for,
                a_delay_never_becomes_longer_and_a_moment_stays_where_it_is, what_is_put_back_waits_for_no_clock;
            line: a_task_that_is_put_off_waits_until_its_time, a_task_that_is_put_off_can_be_cancelled,
                a_step_of_priority_is_worth_a_minute_of_waiting,
                a_low_priority_waits_for_nobody_when_the_line_is_empty,
                no_task_waits_for_ever_behind_higher_priorities,
                one_priority_is_served_in_order_in_each_plugin,
                a_priority_counts_from_when_a_task_is_ready,
                a_priority_outlives_retries_drains_and_restarts,
                many_tasks_that_become_ready_at_once_are_all_claimed;
            lanes: plugins_take_turns, groups_take_turns, a_priority_counts_within_its_group,
                a_group_waits_for_one_turn_of_a_long_line, a_group_that_is_put_off_waits_until_its_time,
                a_group_outlives_retries_drains_and_restarts, a_plugin_that_may_start_no_more_holds_up_nobody,
                a_group_that_was_cancelled_is_passed_over, a_group_of_the_future_runs_though_the_clock_went_back,
                thousands_of_groups_are_all_served;
            keys: the_same_request_is_answered_again_and_does_nothing, another_request_under_its_key_is_refused,
                a_refused_request_leaves_its_key_free, a_key_is_forgotten_after_a_day,
                of_requests_that_come_at_once_one_is_carried_out, one_task_lives_under_a_unique_key,
                the_steps_of_a_request_are_summed_up, a_run_by_hand_under_a_key_is_made_once,
                the_holder_of_a_unique_key_can_be_the_answer, a_unique_key_is_free_when_its_task_is_over;
            tags: a_list_shows_the_tags_asked_for, tags_stay_with_a_task_whatever_its_state,
                many_are_cancelled_by_their_tags, tags_of_what_was_refused_show_nowhere;
            again: every_attempt_is_kept_with_its_outcome, attempts_go_with_their_task_whatever_its_state,
                a_task_is_done_again_as_it_was_asked_for, what_is_paused_stays_so_until_it_is_resumed,
                tasks_are_found_page_by_page_whatever_comes_meanwhile;
            suspend: a_suspended_task_goes_on_at_its_time_with_its_state,
                steps_are_one_attempt_with_one_usage_and_one_log,
                a_failed_step_is_tried_again_from_the_state_before_it,
                a_step_that_a_drain_ended_is_as_if_it_had_not_been, a_step_that_a_crash_ended_is_done_once_more,
                a_suspended_task_can_be_cancelled, a_lost_claim_suspends_nothing;
            schedules: a_schedule_is_made_replaced_and_removed, what_came_the_other_way_stays,
                there_are_no_more_schedules_than_the_most, the_same_once_more_stays_due,
                what_was_settled_is_not_due_again_though_the_clock_went_back,
                a_run_and_the_next_moment_are_one_write, what_was_planned_on_an_older_state_is_not_done,
                a_full_line_takes_as_many_runs_as_have_room,
                a_run_that_its_plugin_has_no_room_for_is_refused_and_changes_nothing, a_run_waits_for_no_other_of_its_schedule_unless_asked_to,
                a_held_unique_key_leaves_a_run_out, a_run_by_hand_moves_nothing,
                a_paused_schedule_is_not_due_and_goes_on_from_now, trouble_is_kept_until_it_runs;
            depend: a_task_waits_until_the_last_one_it_depends_on_has_completed,
                a_failure_goes_down_to_all_that_depend_on_it,
                what_ended_before_counts_like_what_ends_later,
                what_had_ended_is_told_of_a_task_that_is_cancelled_at_once,
                a_task_that_is_cancelled_or_deleted_takes_those_along_that_wait_for_it,
                a_task_that_waits_for_others_can_be_cancelled_and_deleted,
                a_task_to_wait_for_has_to_be_there,
                a_batch_may_depend_on_itself_and_on_holders_of_keys,
                a_delay_and_a_priority_count_when_the_others_have_ended,
                what_waits_for_others_is_in_no_line,
                a_long_chain_and_a_large_crowd_are_told_in_steps,
                whoever_starts_tasks_is_woken_when_some_are_let_in,
                ends_and_submits_at_the_same_time_lose_no_task,
                dependencies_outlive_the_store,
                results_are_handed_over_in_their_order,
                results_that_are_to_be_handed_over_are_not_forgotten,
                what_cannot_be_handed_over_is_named,
                a_task_done_again_waits_for_what_it_waited_for,
                what_is_kept_for_others_counts_and_hides_nothing_behind_it,
                a_task_let_in_waits_for_no_clock_that_went_back;
            webhook: the_end_of_a_task_makes_its_delivery_due, a_receiver_is_told_of_the_ends_it_asked_for_alone,
                a_delivery_is_tried_again_when_it_is_time, each_try_is_kept_and_the_oldest_make_room,
                what_ended_is_delivered_once_more_if_asked, what_is_due_outlives_the_store,
                the_host_that_dies_once_too_often_leaves_a_delivery, one_receiver_does_not_hide_the_others,
                a_delivery_goes_with_its_task, a_late_try_changes_nothing, the_backlog_is_counted,
                no_delivery_waits_for_the_clock_to_come_back, a_task_done_again_keeps_its_webhook,
                one_that_is_asked_for_once_more_counts_its_tries_anew,
                a_try_under_way_ends_nothing_that_was_asked_for_meanwhile,
                a_pending_delivery_keeps_its_task,
                deliveries_that_are_pending_for_too_long_or_too_many_go_and_are_counted,
                a_delivery_that_is_asked_for_while_its_task_is_pruned_keeps_it;
            recover: tasks_outlive_the_store, a_running_task_is_recovered_first_in_line,
                the_third_crash_fails_the_task, a_claim_from_before_the_crash_is_lost,
                a_closed_store_refuses_everything, a_second_close_changes_nothing;
        }
    };
    ($place:ty; $($module:ident: $($case:ident),+;)+) => {$(
        mod $module {
            $(#[tokio::test]
            async fn $case() {
                let place = <$place as $crate::fixture::Place>::new();
                $crate::conformance::$module::$case(&place).await;
            })+
        }
    )+};
}
pub(crate) use suite;
