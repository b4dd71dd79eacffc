//! The content of `/debug/tasks`, and its text format.

use std::fmt;
use std::time::Duration;

use serde::Serialize;
use wasmill_model::Timestamp;
use wasmill_scheduler::Slots;

use crate::view::activity::{HttpView, InstanceView, RunView, STATES, format_time};

/// All runs at one time.
#[derive(Serialize)]
pub(super) struct Dump {
    time: String,
    slots_total: usize,
    slots_used: usize,
    /// Number of matching runs, which may exceed the limit.
    found: usize,
    tasks: Vec<RunView>,
}

impl Dump {
    pub(super) fn new(now: Timestamp, slots: Slots, found: usize, tasks: Vec<RunView>) -> Self {
        Self { time: format_time(now), slots_total: slots.total, slots_used: slots.used, found, tasks }
    }
}

impl fmt::Display for Dump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { time, slots_total, slots_used, found, tasks } = self;
        write!(f, "{time}: {slots_used} of {slots_total} slots used")?;
        let mut of_state =
            STATES.map(|state| (state, tasks.iter().filter(|task| task.state == state).count()));
        of_state.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
        for (state, count) in of_state.into_iter().filter(|&(_, count)| count > 0) {
            write!(f, ", {count} {state}")?;
        }
        writeln!(f)?;
        for task in tasks {
            write!(f, "\n{task}")?;
        }
        if *found > tasks.len() {
            writeln!(f, "\n{} more; limit={found} shows all", found - tasks.len())?;
        }
        Ok(())
    }
}

impl fmt::Display for RunView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { task, plugin, state, activity, attempt, max_attempts, .. } = self;
        write!(f, "task {task} [{state}")?;
        if let Some(call) = &self.call {
            write!(f, " {}", format_duration(call.waited_ms))?;
        }
        writeln!(f, "]: {activity}")?;
        let (age, timeout) = (format_duration(self.age_ms), format_duration(self.timeout_ms));
        write!(f, "    plugin {plugin}, attempt {attempt} of {max_attempts}, {age} of at most {timeout}")?;
        writeln!(f, "{}", if self.stop_requested { ", stop requested" } else { "" })?;
        if let Some(call) = &self.call {
            writeln!(f, "    in {}", call.name)?;
        }
        let Some(instance) = &self.instance else { return Ok(()) };
        let InstanceView { digest, kind, profile, cpu_ms, .. } = instance;
        writeln!(f, "    {kind}, {profile}, digest {}", digest.get(..12).unwrap_or(digest))?;
        let (memory, tables) = (instance.memory_bytes, instance.tables_bytes);
        writeln!(
            f,
            "    cpu {}, memory {} of {}, {} of it tables",
            format_duration(*cpu_ms),
            size(memory),
            size(instance.memory_max_bytes),
            size(tables)
        )?;
        for HttpView { method, origin, has_head, ms } in &instance.http {
            let part = if *has_head { "reading its body" } else { "waiting for the response" };
            writeln!(f, "    http {method} {origin}, for {}, {part}", format_duration(*ms))?;
        }
        Ok(())
    }
}

/// Formats a duration for people.
fn format_duration(ms: u64) -> String {
    match ms {
        0..10_000 => format!("{ms}ms"),
        _ => humantime::format_duration(Duration::from_secs(ms / 1_000)).to_string(),
    }
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1_024 => format!("{bytes} B"),
        1_024..1_048_576 => format!("{} KiB", bytes >> 10),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_are_short() {
        assert_eq!(format_duration(9_999), "9999ms");
        assert_eq!(format_duration(125_400), "2m 5s");
        assert_eq!([size(12), size(70_000), size(3 << 20)], ["12 B", "68 KiB", "3.0 MiB"]);
    }
}
