//! The table of `watch`: a header, a row per task, and a footer about the keys. Pure: snapshots in, lines out.

use anyhow::Result;

use super::keys::Key;
use super::snapshot::Snapshot;
use crate::client::{Stats, Task};
use crate::terminal::style::Style;
use crate::terminal::text::{bar, format_bytes, format_duration, padded, truncated};

/// Lines beside the rows: header, labels, footer.
const FRAME_LINES: usize = 5;
const BAR_COLUMNS: usize = 12;
const ID_COLUMNS: usize = 36;
/// Columns of the end of an id, which distinguishes tasks, and an ellipsis.
const ID_END_COLUMNS: usize = 13;
/// Minimum columns of a terminal for complete ids.
const WIDE: usize = 130;
/// Columns between the id and the progress.
const FIXED_COLUMNS: usize = 2 + 9 + 2 + 14 + 2 + 8 + 2 + 8 + 2;

pub(super) struct Table {
    server: String,
    snapshot: Option<Snapshot>,
    /// Why the last poll failed.
    error: Option<String>,
    /// The outcome of the last cancel.
    message: String,
    /// The id of the selected row.
    selected: Option<String>,
    /// A task that is cancelled if the next key is `y`.
    pending_cancel: Option<String>,
    style: Style,
}

/// What a key requests.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Action {
    Nothing,
    Quit,
    /// Cancel a task, by its id.
    Cancel(String),
}

impl Table {
    pub(super) fn new(server: String) -> Self {
        let style = Style::stdout();
        Self {
            server,
            snapshot: None,
            error: None,
            message: String::new(),
            selected: None,
            pending_cancel: None,
            style,
        }
    }

    /// Shows a new snapshot; after an error the last one stays.
    pub(super) fn show(&mut self, snapshot: Result<Snapshot>) {
        match snapshot {
            Ok(snapshot) => {
                self.error = None;
                self.snapshot = Some(snapshot);
                if self.position().is_none() {
                    self.selected = self.tasks().first().map(|task| task.id.clone());
                }
            }
            Err(error) => self.error = Some(format!("{error:#}")),
        }
    }

    /// Shows a message, such as the outcome of a cancel.
    pub(super) fn set_message(&mut self, words: String) {
        self.message = words;
    }

    /// Handles a key.
    pub(super) fn press(&mut self, key: Key) -> Action {
        if let Some(id) = self.pending_cancel.take() {
            return match key {
                Key::Letter('y') => Action::Cancel(id),
                Key::Interrupt => Action::Quit,
                _ => Action::Nothing,
            };
        }
        self.message.clear();
        match key {
            Key::Letter('q') | Key::Escape | Key::Interrupt => return Action::Quit,
            Key::Down | Key::Letter('j') => self.select(|at, _| at + 1),
            Key::Up | Key::Letter('k') => self.select(|at, _| at.saturating_sub(1)),
            Key::First | Key::Letter('g') => self.select(|_, _| 0),
            Key::Last | Key::Letter('G') => self.select(|_, last| last),
            Key::Letter('c') => self.confirm_cancel(),
            Key::Letter(_) => {}
        }
        Action::Nothing
    }

    /// Asks for confirmation before the selected task is cancelled.
    fn confirm_cancel(&mut self) {
        let Some(task) = self.position().and_then(|at| self.tasks().get(at)) else { return };
        if task.is_finished() {
            self.message = format!("{} has already finished", task.id);
        } else {
            self.pending_cancel = Some(task.id.clone());
        }
    }

    fn select(&mut self, to: impl Fn(usize, usize) -> usize) {
        let Some(last) = self.tasks().len().checked_sub(1) else { return };
        let at = to(self.position().unwrap_or(0), last).min(last);
        self.selected = Some(self.tasks()[at].id.clone());
    }

    fn position(&self) -> Option<usize> {
        let selected = self.selected.as_deref()?;
        self.tasks().iter().position(|task| task.id == selected)
    }

    fn tasks(&self) -> &[Task] {
        self.snapshot.as_ref().map(|snapshot| snapshot.tasks.as_slice()).unwrap_or_default()
    }

    /// Returns the lines of the table, at most as high and wide as the terminal.
    pub(super) fn lines(&self, columns: usize, rows: usize) -> Vec<String> {
        let mut lines = self.header(columns);
        let columns_left = rows.saturating_sub(FRAME_LINES);
        // The selected row is always visible.
        let first = (self.position().unwrap_or(0) + 1).saturating_sub(columns_left);
        let shown = self.tasks().iter().skip(first).take(columns_left);
        lines.extend(shown.map(|task| self.row(task, columns)));
        if self.snapshot.is_some() && self.tasks().is_empty() {
            lines.push(truncated("no tasks", columns));
        }
        lines.resize(rows.saturating_sub(1).max(lines.len()), String::new());
        lines.push(self.foot(columns));
        lines
    }

    fn header(&self, columns: usize) -> Vec<String> {
        let title = self.style.bold(truncated(&format!("wasmill at {}", self.server), columns));
        let Some(snapshot) = &self.snapshot else { return vec![title, String::new()] };
        let words = summary(&snapshot.stats);
        let id = padded("ID", id_columns(columns));
        let labels = format!("{id}  {:<9}  {:<14}  {:<8}  {:<8}  PROGRESS", "STATE", "PLUGIN", "AGE", "RAN");
        let labels = self.style.bold(truncated(&labels, columns));
        vec![title, truncated(&words, columns), String::new(), labels]
    }

    fn row(&self, task: &Task, columns: usize) -> String {
        let ran = if task.started_at.is_some() { format_duration(task.duration()) } else { String::new() };
        let cells = [
            short(&task.id, columns),
            padded(task.full_state(), 9),
            padded(&task.plugin, 14),
            padded(&format_duration(task.age()), 8),
            padded(&ran, 8),
        ];
        let columns_left = columns.saturating_sub(id_columns(columns) + FIXED_COLUMNS);
        if self.selected.as_deref() == Some(&task.id) {
            let (progress, note) = progress(task);
            let row = format!("{}  {progress}{note}", cells.join("  "));
            return self.style.selected(padded(&row, columns));
        }
        if columns_left == 0 {
            return truncated(&cells.join("  "), columns);
        }
        let [id, state, plugin, age, ran] = cells;
        let (progress, note) = progress(task);
        let progress = truncated(&progress, columns_left);
        let note = truncated(&note, columns_left - progress.chars().count().min(columns_left));
        let state = self.style.state(&task.state, state);
        format!("{id}  {state}  {plugin}  {age}  {ran}  {}{note}", self.style.green(progress))
    }

    fn foot(&self, columns: usize) -> String {
        if let Some(id) = &self.pending_cancel {
            return self
                .style
                .yellow(truncated(&format!("cancel {id}? y for yes, any other key for no"), columns));
        }
        if let Some(error) = &self.error {
            return self.style.red(truncated(error, columns));
        }
        if !self.message.is_empty() {
            return truncated(&self.message, columns);
        }
        let selected = self.selected.as_deref().filter(|_| columns < WIDE).unwrap_or_default();
        self.style.dim(truncated(&format!("q quit   up/down select   c cancel   {selected}"), columns))
    }
}

fn id_columns(columns: usize) -> usize {
    if columns < WIDE { ID_END_COLUMNS } else { ID_COLUMNS }
}

/// Formats an id, or its end on a narrow terminal; the footer then shows the complete id of the selected task.
fn short(id: &str, columns: usize) -> String {
    if columns >= WIDE {
        return padded(id, ID_COLUMNS);
    }
    let skipped = id.chars().count().saturating_sub(ID_END_COLUMNS - 1);
    padded(&format!("…{}", id.chars().skip(skipped).collect::<String>()), ID_END_COLUMNS)
}

/// Returns the bar of a task, if it has one, and its note.
fn progress(task: &Task) -> (String, String) {
    match (task.state.as_str(), &task.progress) {
        ("running", Some(progress)) => {
            let (filled, empty) = bar(progress.fraction, BAR_COLUMNS);
            (format!("{filled}{empty}"), format!(" {:>3} %  {}", progress.percent(), progress.note))
        }
        ("failed", _) => (String::new(), task.status.clone()),
        _ => (String::new(), task.waiting_for().unwrap_or_default()),
    }
}

/// Says in a line how busy the server is, or for a key with a reach, what it has there.
fn summary(stats: &Stats) -> String {
    let Stats { waiting, running, slots, memory, draining, is_at_least, .. } = stats;
    let at_least = if *is_at_least { "at least " } else { "" };
    let mut words = format!("{at_least}{running} running, {waiting} waiting");
    match slots {
        Some(slots) => words.push_str(&format!(", {} of {} slots", slots.used, slots.total)),
        None => words.push_str(" within the reach of the key"),
    }
    if let Some(memory) = memory {
        let (used, total) = (format_bytes(memory.used_bytes), format_bytes(memory.total_bytes));
        words.push_str(&format!(", {used} of {total} memory"));
        if memory.blocks_queue {
            words.push_str(", waiting for memory");
        }
    }
    if *draining {
        words.push_str(", draining");
    }
    words
}

#[cfg(test)]
mod tests {
    use unicode_width::UnicodeWidthStr;

    use super::*;
    use crate::client::{Memory, Progress, Slots};
    use crate::terminal::style::{Color, set_color};

    fn table(states: &[&str]) -> Table {
        set_color(Color::Never);
        let task = |(at, state): (usize, &&str)| Task {
            id: format!("01a2074c-e503-703b-819d-{at:012}"),
            state: state.to_string(),
            status: "failed by io bound".to_owned(),
            plugin: "io-stub".to_owned(),
            progress: Some(Progress { fraction: 0.5, note: "half\x1b[2J done 漢字".to_owned() }),
            ..Task::default()
        };
        let tasks = states.iter().enumerate().map(task).collect();
        let mut table = Table::new("http://127.0.0.1:8080".to_owned());
        table.show(Ok(Snapshot { tasks, ..Snapshot::default() }));
        table
    }

    fn id(at: usize) -> String {
        format!("01a2074c-e503-703b-819d-{at:012}")
    }

    #[test]
    fn the_table_fits_the_terminal() {
        let mut table = table(&["running", "waiting", "failed", "completed", "cancelled"]);
        for key in [Key::Down, Key::Letter('c'), Key::Letter('n'), Key::Last, Key::Letter('c')] {
            table.press(key);
            for (columns, rows) in [(1, 6), (20, 8), (80, 24), (92, 10), (200, 60)] {
                let lines = table.lines(columns, rows);
                assert_eq!(lines.len(), rows);
                assert!(lines.iter().all(|line| line.width() <= columns), "{columns}: {lines:#?}");
                assert!(lines.iter().all(|line| !line.contains('\x1b')), "{lines:#?}");
            }
        }
    }

    #[test]
    fn a_narrow_terminal_shows_ends_of_ids_and_the_selected_id() {
        let table = table(&["running", "waiting"]);
        let lines = table.lines(100, 10);
        assert!(lines[4].starts_with("…000000000000  running") && lines[4].contains(" 50 %"), "{lines:#?}");
        assert!(lines[9].contains(&id(0)), "{lines:#?}");
        assert!(lines[3].starts_with("ID             STATE"), "the labels are above: {lines:#?}");
        assert!(table.lines(150, 10)[5].starts_with(&id(1)));
    }

    #[test]
    fn a_cancel_needs_a_confirmation() {
        let mut table = table(&["running", "waiting"]);
        assert_eq!(table.press(Key::Letter('c')), Action::Nothing);
        assert!(table.lines(100, 10).last().unwrap().contains(&format!("cancel {}?", id(0))));
        assert_eq!(table.press(Key::Letter('n')), Action::Nothing);
        assert_eq!(table.press(Key::Letter('y')), Action::Nothing);
        table.press(Key::Down);
        table.press(Key::Letter('c'));
        assert_eq!(table.press(Key::Letter('y')), Action::Cancel(id(1)));
    }

    #[test]
    fn a_finished_task_is_not_cancelled() {
        let mut table = table(&["completed"]);
        table.press(Key::Letter('c'));
        assert_eq!(table.press(Key::Letter('y')), Action::Nothing);
    }

    #[test]
    fn the_selection_follows_its_task_and_stays_visible() {
        let mut table = table(&["running"; 40]);
        table.press(Key::Last);
        assert!(table.lines(150, 12).iter().any(|line| line.contains(&id(39))));
        let mut tasks: Vec<_> = table.snapshot.take().unwrap().tasks;
        tasks.rotate_right(1);
        table.show(Ok(Snapshot { tasks, ..Snapshot::default() }));
        assert_eq!(table.position(), Some(0));
        assert!(table.lines(150, 12)[4].contains(&id(39)));
        table.press(Key::Up);
        assert_eq!(table.position(), Some(0));
    }

    #[test]
    fn a_failed_poll_keeps_the_last_snapshot_and_shows_the_error() {
        let mut table = table(&["running"]);
        table.show(Err(anyhow::anyhow!("no response from http://127.0.0.1:8080")));
        let lines = table.lines(150, 10);
        assert!(lines[4].contains(&id(0)) && lines[9].contains("no response"), "{lines:#?}");
    }

    #[test]
    fn the_summary_is_of_what_the_key_may_see() {
        let mut stats = Stats { waiting: 5, running: 3, ..Stats::default() };
        assert_eq!(summary(&stats), "3 running, 5 waiting within the reach of the key");
        stats.is_at_least = true;
        stats.draining = true;
        assert_eq!(summary(&stats), "at least 3 running, 5 waiting within the reach of the key, draining");
        stats = Stats { slots: Some(Slots { used: 3, total: 8 }), memory: Some(Memory::default()), ..stats };
        stats.is_at_least = false;
        let words = summary(&stats);
        assert!(words.starts_with("3 running, 5 waiting, 3 of 8 slots, 0 "), "{words}");
    }

    #[test]
    fn quit_keys_quit() {
        for key in [Key::Letter('q'), Key::Escape, Key::Interrupt] {
            assert_eq!(table(&[]).press(key), Action::Quit);
        }
    }
}
