use chrono::DateTime;
use wasmill_model::{PluginName, Progress, TaskId};

use super::*;

fn board() -> ReportBoard {
    ReportBoard::new(0, Tracer::default())
}

fn progress() -> Progress {
    Progress { fraction: 0.5, note: String::new() }
}

/// Begins a claim of this task.
fn begin(board: &ReportBoard, seq: i64) -> ReportCell {
    let plugin: PluginName = "a".parse().expect("valid");
    let of = Reporter { task: TaskId::new(), plugin, attempt: 1, token: 1, trace: None };
    let cell = board.cell(of, None);
    board.turn([Turn::Began { seq, cell: cell.clone() }]);
    cell
}

fn waiting(board: &ReportBoard) -> usize {
    locked(&board.unpublished.cells).cells.len()
}

#[test]
fn tasks_that_reported_and_ended_leave_nothing_behind_though_no_pulse_came() {
    let board = board();
    for seq in 0..10_000 {
        let cell = begin(&board, seq);
        cell.set_progress(progress());
        assert_eq!(waiting(&board), 1, "only what runs waits to be published");
        board.turn([Turn::Ended { seq }]);
        cell.set_progress(progress());
        assert_eq!(Arc::strong_count(&cell.0) + Arc::weak_count(&cell.0), 1, "nobody else holds the cell");
    }
    assert_eq!(waiting(&board), 0);
    assert!(locked(&board.cells).is_empty());
}

#[test]
fn a_claim_that_takes_the_place_of_another_ends_it() {
    let board = board();
    let before = begin(&board, 1);
    before.set_progress(progress());
    begin(&board, 1);
    assert_eq!((waiting(&board), Arc::strong_count(&before.0)), (0, 1));
}

#[test]
fn each_pulse_publishes_the_first_and_leaves_the_rest_for_the_next() {
    let board = board();
    let cells: Vec<_> = (0..1_500).map(|seq| begin(&board, seq)).collect();
    let mut follower = board.hub.follow_all();
    for cell in cells.iter().chain(&cells) {
        cell.set_progress(progress());
    }
    for left in [500, 0] {
        board.tell_progress(DateTime::UNIX_EPOCH);
        assert_eq!(waiting(&board), left);
    }
    let mut told = Vec::new();
    while let Some(crate::Told::Events(events)) = follower.now() {
        told.extend(events.into_iter().map(|event| event.news.task));
    }
    assert_eq!(told, cells.iter().map(|cell| cell.of().task).collect::<Vec<_>>());
    cells[0].set_progress(progress());
    assert_eq!(waiting(&board), 1, "it may wait again after it was published");
}
