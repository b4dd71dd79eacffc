//! Inputs, results and states as types of serde.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::any::Any;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Failure, Step, restore, save};

/// Stores a checkpoint as JSON; see [`save`].
///
/// # Errors
///
/// Fails if the value has no JSON, exceeds the limit, or the host cannot store it.
pub fn save_json(state: &impl Serialize) -> Result<(), Failure> {
    let state = serde_json::to_vec(state).map_err(|error| unwritable("the checkpoint", &error))?;
    Ok(save(&state)?)
}

/// Returns the latest checkpoint, if there is one; see [`restore`].
///
/// # Errors
///
/// Fails if it has another shape, for example because an earlier version of the plugin wrote it.
pub fn restore_json<T: DeserializeOwned>() -> Result<Option<T>, Failure> {
    restore().map(|state| read_state(&state)).transpose()
}

/// Runs the function of [`task!`](crate::task).
///
/// # Errors
///
/// Fails if the input has another shape, the function fails, or its output has no JSON.
pub fn run_json<Input, Output, E>(
    input: &str,
    run: impl FnOnce(Input) -> Result<Output, E>,
) -> Result<String, Failure>
where
    Input: DeserializeOwned,
    Output: Serialize + 'static,
    E: Into<Failure>,
{
    result(run(read_input(input)?).map_err(Into::into)?)
}

/// Runs the function of [`steps!`](crate::steps).
///
/// # Errors
///
/// Fails if the input or the state has another shape, the function fails, or its output has no JSON.
pub fn step_json<Input, State, Output, E>(
    input: &str,
    state: Option<Vec<u8>>,
    run: impl FnOnce(Input, Option<State>) -> Result<Step<Output, State>, E>,
) -> Result<Step, Failure>
where
    Input: DeserializeOwned,
    State: DeserializeOwned + Serialize,
    Output: Serialize + 'static,
    E: Into<Failure>,
{
    let state = state.map(|state| read_state(&state)).transpose()?;
    Ok(match run(read_input(input)?, state).map_err(Into::into)? {
        Step::Done(output) => Step::Done(result(output)?),
        Step::Suspended(wait, state) => Step::Suspended(wait, write_state(&state)?),
        Step::UntilEvent(wait, state) => Step::UntilEvent(wait, write_state(&state)?),
        Step::Until(wait, wake_on, state) => Step::Until(wait, wake_on, write_state(&state)?),
    })
}

fn write_state<State: Serialize>(state: &State) -> Result<Vec<u8>, Failure> {
    serde_json::to_vec(state).map_err(|error| unwritable("the state", &error))
}

fn read_input<Input: DeserializeOwned>(input: &str) -> Result<Input, Failure> {
    serde_json::from_str(input).map_err(|error| Failure::invalid_input(format!("invalid input: {error}")))
}

fn read_state<State: DeserializeOwned>(state: &[u8]) -> Result<State, Failure> {
    serde_json::from_slice(state)
        .map_err(|error| Failure::other(format!("the checkpoint is not usable: {error}")))
}

/// Returns a `String` as it is, and anything else as JSON.
fn result<Output: Serialize + 'static>(output: Output) -> Result<String, Failure> {
    let mut output = Some(output);
    if let Some(text) = (&mut output as &mut dyn Any).downcast_mut::<Option<String>>() {
        return Ok(text.take().unwrap_or_default());
    }
    serde_json::to_string(&output).map_err(|error| unwritable("the result", &error))
}

fn unwritable(what: &str, error: &serde_json::Error) -> Failure {
    Failure::other(format!("{what} has no JSON: {error}"))
}
