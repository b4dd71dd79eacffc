//! Takes steps one after the other, each by a plugin, and undoes those that were taken if one fails.
//!
//! Each step is a child of this task, and so is each undoing. What has become of them is all that this task has to know, so
//! it has no state of its own: every run looks at its children and decides what comes next. A run that dies in between is
//! followed by one that sees the same children, and a name is submitted once, so nothing is done twice.

use std::collections::HashMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use wasmill_guest::{ChildState, Failure, NewChild, Step, WakeOn, all_children, submit_children};

/// Longer than anything takes; a child has a timeout of its own.
const WAIT: Duration = Duration::from_secs(366 * 86_400);

/// An undoing has to succeed.
const UNDO_ATTEMPTS: u32 = 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    steps: Vec<SagaStep>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SagaStep {
    name: String,
    plugin: String,
    input: Option<Box<RawValue>>,
    /// How often it is tried before the saga is undone.
    #[serde(default = "one")]
    max_attempts: u32,
    /// What takes it back, if anything has to.
    undo: Option<Undo>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Undo {
    plugin: String,
    /// By default it gets what the step returned.
    input: Option<Box<RawValue>>,
}

fn one() -> u32 {
    1
}

/// Nothing: the children are the state.
#[derive(Deserialize, Serialize)]
struct Waiting {}

wasmill_guest::steps!(run);

fn run(input: Input, _: Option<Waiting>) -> Result<Step<Value, Waiting>, Failure> {
    let children: HashMap<String, ChildState> =
        all_children().into_iter().map(|child| (child.name, child.state)).collect();
    let mut results = Map::new();
    for (index, step) in input.steps.iter().enumerate() {
        let name = format!("do {}", step.name);
        let why = match children.get(&name) {
            None => return submit(name, &step.plugin, text(step.input.as_deref()), step.max_attempts),
            Some(ChildState::Unfinished) => return Ok(wait()),
            Some(ChildState::Completed(result)) => {
                results.insert(step.name.clone(), value(result));
                continue;
            }
            Some(ChildState::Failed(why)) => format!("step {} failed: {why}", step.name),
            Some(ChildState::Cancelled) => format!("step {} was cancelled", step.name),
        };
        return undo(&input.steps[..index], &children, &results, why);
    }
    Ok(Step::Done(Value::Object(results)))
}

/// Undoes the steps that were taken, the last one first, and fails.
fn undo(
    taken: &[SagaStep],
    children: &HashMap<String, ChildState>,
    results: &Map<String, Value>,
    why: String,
) -> Result<Step<Value, Waiting>, Failure> {
    let mut undone = Vec::new();
    for (step, undo) in taken.iter().rev().filter_map(|step| Some((step, step.undo.as_ref()?))) {
        let name = format!("undo {}", step.name);
        match children.get(&name) {
            None => {
                let result = || results.get(&step.name).map(Value::to_string);
                let input = text(undo.input.as_deref()).or_else(result);
                return submit(name, &undo.plugin, input, UNDO_ATTEMPTS);
            }
            Some(ChildState::Unfinished) => return Ok(wait()),
            Some(ChildState::Completed(_)) => undone.push(step.name.as_str()),
            Some(ChildState::Failed(_) | ChildState::Cancelled) => {
                return Err(failure(format!("{why}; step {} could not be undone", step.name)));
            }
        }
    }
    let undone = if undone.is_empty() { "nothing".to_owned() } else { undone.join(", ") };
    Err(failure(format!("{why}; undone: {undone}")))
}

/// Submits a child, and waits for it.
fn submit(
    name: String,
    plugin: &str,
    input: Option<String>,
    max_attempts: u32,
) -> Result<Step<Value, Waiting>, Failure> {
    println!("{name}");
    let options = Some(json!({"max_attempts": max_attempts}).to_string());
    submit_children(&[NewChild { name, plugin: plugin.to_owned(), input, options }])?;
    Ok(wait())
}

fn wait() -> Step<Value, Waiting> {
    Step::Until(WAIT, WakeOn::ALL_CHILDREN, Waiting {})
}

/// Another attempt would find the same children.
fn failure(message: String) -> Failure {
    Failure::other(message).never_retried()
}

fn text(input: Option<&RawValue>) -> Option<String> {
    input.map(|input| input.get().to_owned())
}

/// Returns a result as the JSON that it is, or as text.
fn value(result: &str) -> Value {
    serde_json::from_str(result).unwrap_or_else(|_| Value::String(result.to_owned()))
}
