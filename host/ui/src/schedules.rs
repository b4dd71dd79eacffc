//! Schedules: when each runs next, what its last run became, and a page with a form for each.

mod form;
mod runs;

use std::collections::BTreeMap;

use maud::{Markup, html};

pub use self::form::{ScheduleForm, edit};
use crate::filters::Filters;
use crate::part::confirm::{ask, button};
use crate::part::state::badge;
use crate::part::text::{block, brief, visible};
use crate::part::time::{Show, time};
use crate::part::{command, unit};
use crate::record::{Schedule, Task};
use crate::shell::{Page, Place, Site};

const ROOT: &str = "../";

/// What the page shows.
#[derive(Clone, Debug, Default)]
pub struct Schedules {
    /// All schedules.
    pub schedules: Vec<Schedule>,
    /// The newest tasks of the first schedules, by name of the schedule, newest first.
    pub tasks: BTreeMap<String, Vec<Task>>,
}

/// Shows the page.
pub fn page(site: &Site, shown: &Schedules) -> Page {
    let main = html! {
        div.row {
            h1 { "Schedules" }
            @if site.rights.schedule { a.button.primary href="schedule" { "New schedule" } }
        }
        div id="schedules" data-live {
            @if shown.schedules.is_empty() { section { p.empty { "There is no schedule. A schedule submits a task at set times." } } }
            @for schedule in &shown.schedules { (card(site, schedule, shown.tasks.get(&schedule.name))) }
        }
        (command::lines("GET", "/schedules", None, Some("wasmill schedule list")))
    };
    Page {
        title: "Schedules".to_owned(),
        place: Place::Schedules,
        root: ROOT,
        scripts: &[],
        is_live: true,
        main,
    }
}

fn card(site: &Site, schedule: &Schedule, newest: Option<&Vec<Task>>) -> Markup {
    let tasks = Filters::default().with("schedule", &schedule.name).href("tasks", &[]);
    html! {
        section.schedule id={ "s-" (schedule.name) } aria-labelledby={ "s-" (schedule.name) "-title" } {
            div.row {
                h2 id={ "s-" (schedule.name) "-title" } { (brief(&schedule.name, 64)) @if schedule.paused { " " (badge("paused")) } }
                (buttons(site, schedule))
            }
            p { code { (visible(&schedule.cron)) } @if let Some(words) = words(&schedule.cron) { " · " (words) } " · " (visible(&schedule.timezone)) " · plugin " (brief(&schedule.plugin, 64)) }
            @if let Some(error) = &schedule.last_error { div.alert { p.pre { (block(error)) } } }
            @if let Some(newest) = newest.filter(|newest| !newest.is_empty()) { (runs::bars(&schedule.name, newest)) }
            dl.facts {
                div {
                    dt { "Next" }
                    dd {
                        @if schedule.paused { "paused" }
                        @else if schedule.next_runs.is_empty() { "never again" }
                        @else { ol.next { @for next in &schedule.next_runs { li { (next_run(next)) } } } }
                    }
                }
                div {
                    dt { "Last" }
                    dd {
                        @match &schedule.last_run {
                            Some(last) => { a.mono href={ "task/" (last.task) } { "…" (crate::record::short_id(&last.task)) } " " (time(&last.time, Show::Age)) @if last.due.is_none() { " " span.note { "by hand" } } },
                            None => "never",
                        }
                    }
                }
                div { dt { "Runs" } dd { a href=(tasks) { (unit::count(schedule.runs)) } @if schedule.skipped > 0 { ", " (unit::count(schedule.skipped)) " skipped" } } }
                div { dt { "If one was missed" } dd { (missed_words(&schedule.missed)) } }
                div { dt { "Overlap" } dd { @if schedule.overlap { "a run may start while another runs" } @else { "skipped while another runs" } } }
                @if schedule.from == "manifest" { div { dt { "From" } dd { "the manifest of its plugin: pause and run only" } } }
            }
        }
    }
}

/// Shows a time of the schedule's own zone, which is what its expression speaks of.
fn next_run(text: &str) -> Markup {
    let local = text.get(..16).map(|local| local.replace('T', " "));
    html! { (visible(local.as_deref().unwrap_or(text))) " " span.note { (time(text, Show::Age)) } }
}

fn buttons(site: &Site, schedule: &Schedule) -> Markup {
    let name = schedule.name.as_str();
    let (action, label) =
        if schedule.paused { ("resume-schedule", "Resume") } else { ("pause-schedule", "Pause") };
    html! {
        @if site.rights.schedule {
            div.buttons {
                (button(ROOT, &[("action", action), ("name", name)], label, "small"))
                (button(ROOT, &[("action", "run-schedule"), ("name", name)], "Run now", "small"))
                @if schedule.from != "manifest" {
                    a.button.small href=(Filters::default().href("schedule", &[("name", name)])) { "Edit" }
                    (ask(&Filters::default().href("act", &[("action", "delete-schedule"), ("name", name)]), "Delete…", "small danger"))
                }
            }
        }
    }
}

fn missed_words(missed: &str) -> &str {
    match missed {
        "skip" => "skip them",
        "one" => "run once",
        "all" => "run each of them",
        other => other,
    }
}

/// Says an expression in words, if its form is said in one line; the next times say the others.
pub fn words(cron: &str) -> Option<String> {
    let parts: Vec<&str> = cron.split_whitespace().collect();
    let [minute, hour, day, month, weekday] = parts.as_slice() else { return None };
    if *month != "*" || *day != "*" {
        return None;
    }
    let number = |text: &str, most: u8| text.parse::<u8>().ok().filter(|number| *number <= most);
    let days = match *weekday {
        "*" => "every day",
        "1-5" | "MON-FRI" => "Monday to Friday",
        "0" | "7" | "SUN" => "on Sundays",
        "1" | "MON" => "on Mondays",
        "2" | "TUE" => "on Tuesdays",
        "3" | "WED" => "on Wednesdays",
        "4" | "THU" => "on Thursdays",
        "5" | "FRI" => "on Fridays",
        "6" | "SAT" => "on Saturdays",
        _ => return None,
    };
    match (*minute, *hour) {
        ("*", "*") if *weekday == "*" => Some("every minute".to_owned()),
        (step, "*") if *weekday == "*" && step.starts_with("*/") => {
            let step = number(&step[2..], 59).filter(|step| *step > 0 && 60 % step == 0)?;
            Some(format!("every {step} minutes"))
        }
        (minute, "*") if *weekday == "*" => Some(format!("{} minutes after every hour", number(minute, 59)?)),
        (minute, hour) => Some(format!("at {:02}:{:02} {days}", number(hour, 23)?, number(minute, 59)?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rights;
    use crate::record::ScheduleRun;

    #[test]
    fn plain_expressions_have_words_and_others_none() {
        for (cron, said) in [
            ("*/10 * * * *", Some("every 10 minutes")),
            ("30 2 * * *", Some("at 02:30 every day")),
            ("0 9 * * 1-5", Some("at 09:00 Monday to Friday")),
            ("5 * * * *", Some("5 minutes after every hour")),
            ("* * * * *", Some("every minute")),
            ("*/7 * * * *", None),
            ("1--100000000 * * * *", None),
            ("0 0 1 * *", None),
            ("@daily", None),
            ("99 99 * * *", None),
        ] {
            assert_eq!(words(cron).as_deref(), said, "{cron}");
        }
        assert_eq!(words(&"* ".repeat(1 << 16)), None);
    }

    #[test]
    fn text_of_strangers_is_text_and_readers_see_no_button() {
        let text = || "\"'><script>alert(1)</script>\u{202e}\0".to_owned();
        let schedule = Schedule {
            name: text(),
            from: text(),
            cron: text(),
            timezone: text(),
            plugin: text(),
            missed: text(),
            next_runs: vec![text()],
            last_error: Some(text()),
            last_run: Some(ScheduleRun { task: text(), time: text(), due: None }),
            ..Schedule::default()
        };
        let tasks = BTreeMap::from([(text(), vec![Task { id: text(), state: text(), ..Task::default() }])]);
        let shown = Schedules { schedules: vec![schedule], tasks };
        let site = Site { rights: Rights::ALL, ..Site::default() };
        assert!(!page(&site, &shown).whole(&site).contains("<script>alert"));
        let reader = Site { rights: Rights { watch: true, ..Rights::default() }, ..Site::default() };
        let html = page(&reader, &shown).whole(&reader);
        assert!(!html.contains("Run now") && !html.contains("href=\"schedule"));
    }
}
