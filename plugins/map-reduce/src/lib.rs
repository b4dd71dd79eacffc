//! Does one thing with each item of a list, all of them at once, and puts the results together.
//!
//! Each item is a child: a task of its own that waits for a slot, is retried, and runs on any host. This task holds no
//! instance meanwhile. Its first step submits all children in one call and its second one reads what they returned; in
//! between there is nothing to remember, since the children are stored with their task.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Number, Value, json};
use wasmill_guest::{ChildState, Failure, NewChild, Step, WakeOn, all_children, submit_children};

/// Longer than anything takes; a task has a timeout for each of its attempts.
const WAIT: Duration = Duration::from_secs(366 * 86_400);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    /// The plugin that does it.
    map: String,
    /// Its input for each item.
    items: Vec<Box<RawValue>>,
    /// How the results become one.
    #[serde(default)]
    reduce: Reduce,
    /// How often each item is tried.
    #[serde(default = "one")]
    max_attempts: u32,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Reduce {
    /// A list in the order of the items.
    #[default]
    List,
    /// The sum of numbers.
    Sum,
}

fn one() -> u32 {
    1
}

/// That it waits for its children.
#[derive(Deserialize, Serialize)]
struct Mapping {}

wasmill_guest::steps!(run);

fn run(input: Input, mapping: Option<Mapping>) -> Result<Step<Value, Mapping>, Failure> {
    if mapping.is_none() {
        // A step that begins again, as after a crash, submits the same names: it gets the children that there are.
        let children = input.items.iter().enumerate().map(|(number, item)| NewChild {
            name: number.to_string(),
            plugin: input.map.clone(),
            input: Some(item.get().to_owned()),
            options: Some(json!({"max_attempts": input.max_attempts}).to_string()),
        });
        submit_children(&children.collect::<Vec<_>>())?;
        return Ok(Step::Until(WAIT, WakeOn::ALL_CHILDREN, Mapping {}));
    }
    let mut results = Vec::with_capacity(input.items.len());
    for child in all_children() {
        match child.state {
            ChildState::Completed(result) => results.push(result),
            ChildState::Unfinished => return Ok(Step::Until(WAIT, WakeOn::ALL_CHILDREN, Mapping {})),
            ChildState::Failed(why) => {
                return Err(Failure::other(format!("item {} failed: {why}", child.name)));
            }
            ChildState::Cancelled => {
                return Err(Failure::other(format!("item {} was cancelled", child.name)));
            }
        }
    }
    reduce(&input.reduce, results).map(Step::Done)
}

fn reduce(reduce: &Reduce, results: Vec<String>) -> Result<Value, Failure> {
    match reduce {
        Reduce::List => Ok(results.into_iter().map(value).collect()),
        Reduce::Sum => {
            let mut sum = 0.0;
            for result in &results {
                let number = result.trim().parse::<f64>();
                sum += number.map_err(|_| Failure::other(format!("'{result}' is no number to add")))?;
            }
            let whole = sum.fract() == 0.0 && sum.abs() < 9e15;
            let number = if whole { Some(Number::from(sum as i64)) } else { Number::from_f64(sum) };
            Ok(number.map_or(Value::Null, Value::Number))
        }
    }
}

/// Returns a result as the JSON that it is, or as text.
fn value(result: String) -> Value {
    serde_json::from_str(&result).unwrap_or(Value::String(result))
}
