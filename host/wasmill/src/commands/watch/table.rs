//! What `watch` shows: a head, a row for each task, and a line about the keys. Pure: looks in, lines out.

use anyhow::Result;

use super::Wish;
use super::keys::Key;
use super::look::Look;
use crate::client::{Stats, Task};
use crate::screen::paint::Paint;
use crate::screen::text::{bar, bytes, clipped, padded, time};

/// Lines beside the rows: the head, its labels, the foot.
const FRAME_LINES: usize = 5;
/// Columns of a bar.
const BAR_COLUMNS: usize = 12;
/// Columns of an id.
const ID_COLUMNS: usize = 36;
/// Columns of the end of an id, which tells tasks apart, and of an ellipsis.
const ID_END_COLUMNS: usize = 13;
/// A terminal of so many columns has room for whole ids.
const WIDE: usize = 130;
/// Columns of what stands between an id and the progress.
const FIXED_COLUMNS: usize = 2 + 9 + 2 + 14 + 2 + 8 + 2 + 8 + 2;

/// The table.
pub(super) struct Table {
    server: String,
    look: Option<Look>,
    /// Why the newest look failed.
    trouble: Option<String>,
    /// What came of the last cancel.
    said: String,
    /// The id of the row that keys are about.
    selected: Option<String>,
    /// A task that is cancelled if the next key is `y`.
    doomed: Option<String>,
    paint: Paint,
}

impl Table {
    pub(super) fn new(server: String) -> Self {
        let paint = Paint::stdout();
        Self { server, look: None, trouble: None, said: String::new(), selected: None, doomed: None, paint }
    }

    /// Takes in what the newest look found; what was there before stays if it failed.
    pub(super) fn show(&mut self, look: Result<Look>) {
        match look {
            Ok(look) => {
                self.trouble = None;
                self.look = Some(look);
                if self.position().is_none() {
                    self.selected = self.tasks().first().map(|task| task.id.clone());
                }
            }
            Err(error) => self.trouble = Some(format!("{error:#}")),
        }
    }

    /// Takes in what came of a cancel.
    pub(super) fn say(&mut self, words: String) {
        self.said = words;
    }

    /// Takes in a key.
    pub(super) fn press(&mut self, key: Key) -> Wish {
        if let Some(id) = self.doomed.take() {
            return match key {
                Key::Letter('y') => Wish::Cancel(id),
                Key::Interrupt => Wish::Quit,
                _ => Wish::Nothing,
            };
        }
        self.said.clear();
        match key {
            Key::Letter('q') | Key::Escape | Key::Interrupt => return Wish::Quit,
            Key::Down | Key::Letter('j') => self.select(|at, _| at + 1),
            Key::Up | Key::Letter('k') => self.select(|at, _| at.saturating_sub(1)),
            Key::First | Key::Letter('g') => self.select(|_, _| 0),
            Key::Last | Key::Letter('G') => self.select(|_, last| last),
            Key::Letter('c') => self.doom(),
            Key::Letter(_) => {}
        }
        Wish::Nothing
    }

    /// Asks whether the selected task is to be cancelled.
    fn doom(&mut self) {
        let Some(task) = self.position().and_then(|at| self.tasks().get(at)) else { return };
        if task.has_ended() {
            self.said = format!("{} has ended already", task.id);
        } else {
            self.doomed = Some(task.id.clone());
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
        self.look.as_ref().map(|look| look.tasks.as_slice()).unwrap_or_default()
    }

    /// Draws the table: at most so many lines, none wider than the terminal.
    pub(super) fn lines(&self, columns: usize, rows: usize) -> Vec<String> {
        let mut lines = self.head(columns);
        let room = rows.saturating_sub(FRAME_LINES);
        // The selected row is always among those shown.
        let first = (self.position().unwrap_or(0) + 1).saturating_sub(room);
        let shown = self.tasks().iter().skip(first).take(room);
        lines.extend(shown.map(|task| self.row(task, columns)));
        if self.look.is_some() && self.tasks().is_empty() {
            lines.push(clipped("no tasks", columns));
        }
        lines.resize(rows.saturating_sub(1).max(lines.len()), String::new());
        lines.push(self.foot(columns));
        lines
    }

    fn head(&self, columns: usize) -> Vec<String> {
        let title = self.paint.bold(clipped(&format!("wasmill at {}", self.server), columns));
        let Some(look) = &self.look else { return vec![title, String::new()] };
        let Stats { waiting, running, slots, memory, draining, .. } = &look.stats;
        let mut words = format!(
            "{running} running, {waiting} waiting, {} of {} slots, {} of {} memory",
            slots.used,
            slots.total,
            bytes(memory.used_bytes),
            bytes(memory.total_bytes),
        );
        if memory.blocks_queue {
            words.push_str(", waiting for memory");
        }
        if *draining {
            words.push_str(", draining");
        }
        let id = padded("ID", id_columns(columns));
        let labels = format!("{id}  {:<9}  {:<14}  {:<8}  {:<8}  PROGRESS", "STATE", "PLUGIN", "AGE", "RAN");
        let labels = self.paint.bold(clipped(&labels, columns));
        vec![title, clipped(&words, columns), String::new(), labels]
    }

    fn row(&self, task: &Task, columns: usize) -> String {
        let ran = if task.started_at.is_some() { time(task.duration()) } else { String::new() };
        let cells = [
            short(&task.id, columns),
            padded(&task.state, 9),
            padded(&task.plugin, 14),
            padded(&time(task.age()), 8),
            padded(&ran, 8),
        ];
        let room = columns.saturating_sub(id_columns(columns) + FIXED_COLUMNS);
        if self.selected.as_deref() == Some(&task.id) {
            let (progress, note) = progress(task);
            let row = format!("{}  {progress}{note}", cells.join("  "));
            return self.paint.selected(padded(&row, columns));
        }
        if room == 0 {
            return clipped(&cells.join("  "), columns);
        }
        let [id, state, plugin, age, ran] = cells;
        let (progress, note) = progress(task);
        let progress = clipped(&progress, room);
        let note = clipped(&note, room - progress.chars().count().min(room));
        let state = self.paint.state(&task.state, state);
        format!("{id}  {state}  {plugin}  {age}  {ran}  {}{note}", self.paint.green(progress))
    }

    fn foot(&self, columns: usize) -> String {
        if let Some(id) = &self.doomed {
            return self
                .paint
                .yellow(clipped(&format!("cancel {id}? y for yes, any other key for no"), columns));
        }
        if let Some(trouble) = &self.trouble {
            return self.paint.red(clipped(trouble, columns));
        }
        if !self.said.is_empty() {
            return clipped(&self.said, columns);
        }
        let selected = self.selected.as_deref().filter(|_| columns < WIDE).unwrap_or_default();
        self.paint.dim(clipped(&format!("q quit   up/down select   c cancel   {selected}"), columns))
    }
}

fn id_columns(columns: usize) -> usize {
    if columns < WIDE { ID_END_COLUMNS } else { ID_COLUMNS }
}

/// Writes an id, or its end where there is no room; the foot has the whole id of the selected task then.
fn short(id: &str, columns: usize) -> String {
    if columns >= WIDE {
        return padded(id, ID_COLUMNS);
    }
    let skipped = id.chars().count().saturating_sub(ID_END_COLUMNS - 1);
    padded(&format!("…{}", id.chars().skip(skipped).collect::<String>()), ID_END_COLUMNS)
}

/// Returns the bar of a task, if it has one, and what else there is to say of it.
fn progress(task: &Task) -> (String, String) {
    match (task.state.as_str(), &task.progress) {
        ("running", Some(progress)) => {
            let (filled, empty) = bar(progress.fraction, BAR_COLUMNS);
            (format!("{filled}{empty}"), format!(" {:>3} %  {}", progress.percent(), progress.note))
        }
        ("failed", _) => (String::new(), task.status.clone()),
        _ => (String::new(), task.next_attempt().unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use unicode_width::UnicodeWidthStr;

    use super::*;
    use crate::client::Progress;
    use crate::screen::paint::{Color, choose};

    fn table(states: &[&str]) -> Table {
        choose(Color::Never);
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
        table.show(Ok(Look { tasks, ..Look::default() }));
        table
    }

    fn id(at: usize) -> String {
        format!("01a2074c-e503-703b-819d-{at:012}")
    }

    #[test]
    fn nothing_is_ever_wider_or_higher_than_the_terminal() {
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
    fn a_narrow_terminal_has_the_ends_of_ids_and_the_whole_of_the_selected_one() {
        let table = table(&["running", "waiting"]);
        let lines = table.lines(100, 10);
        assert!(lines[4].starts_with("…000000000000  running") && lines[4].contains(" 50 %"), "{lines:#?}");
        assert!(lines[9].contains(&id(0)), "{lines:#?}");
        assert!(lines[3].starts_with("ID             STATE"), "the labels stand above: {lines:#?}");
        assert!(table.lines(150, 10)[5].starts_with(&id(1)));
    }

    #[test]
    fn a_cancel_is_asked_about_first() {
        let mut table = table(&["running", "waiting"]);
        assert_eq!(table.press(Key::Letter('c')), Wish::Nothing);
        assert!(table.lines(100, 10).last().unwrap().contains(&format!("cancel {}?", id(0))));
        assert_eq!(table.press(Key::Letter('n')), Wish::Nothing);
        assert_eq!(table.press(Key::Letter('y')), Wish::Nothing);
        table.press(Key::Down);
        table.press(Key::Letter('c'));
        assert_eq!(table.press(Key::Letter('y')), Wish::Cancel(id(1)));
    }

    #[test]
    fn what_has_ended_is_not_cancelled() {
        let mut table = table(&["completed"]);
        table.press(Key::Letter('c'));
        assert_eq!(table.press(Key::Letter('y')), Wish::Nothing);
    }

    #[test]
    fn the_selection_stays_with_its_task_and_in_sight() {
        let mut table = table(&["running"; 40]);
        table.press(Key::Last);
        assert!(table.lines(150, 12).iter().any(|line| line.contains(&id(39))));
        let mut tasks: Vec<_> = table.look.take().unwrap().tasks;
        tasks.rotate_right(1);
        table.show(Ok(Look { tasks, ..Look::default() }));
        assert_eq!(table.position(), Some(0));
        assert!(table.lines(150, 12)[4].contains(&id(39)));
        table.press(Key::Up);
        assert_eq!(table.position(), Some(0));
    }

    #[test]
    fn a_look_that_failed_leaves_the_last_one_in_sight_and_says_why() {
        let mut table = table(&["running"]);
        table.show(Err(anyhow::anyhow!("no answer from http://127.0.0.1:8080")));
        let lines = table.lines(150, 10);
        assert!(lines[4].contains(&id(0)) && lines[9].contains("no answer"), "{lines:#?}");
    }

    #[test]
    fn keys_quit() {
        for key in [Key::Letter('q'), Key::Escape, Key::Interrupt] {
            assert_eq!(table(&[]).press(key), Wish::Quit);
        }
    }
}
