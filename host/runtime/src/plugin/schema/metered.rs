//! A JSON value that counts accesses, so that validation against a schema terminates.
//!
//! Used by `schema` only. The validator has no bound of its own: a schema of a few lines can make it try billions
//! of ways. But it must access the value, and each access is counted here. When steps, time, error memory or stack
//! are used up, the access does not return but unwinds to [`metered`], which encloses every validation.

use std::any::Any;
use std::borrow::Cow;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Instant;

use jsonschema::JsonType;
use jsonschema::json::{Array, Json, Node, NodeIdentity, Object, cmp, unique};
use serde_json::{Map, Number, Value};

/// Bytes of a text that count as one step.
const TEXT_BYTES_PER_STEP: usize = 16;
/// The clock is read once in this many small steps.
const STEPS_PER_GLANCE: u64 = 64;
/// The size of an error, without the value that it is about.
const ERROR_BULK: u64 = 20;
/// The size of an object, without its members.
const OBJECT_BULK: u64 = 8;
/// Bytes of stack that validation may use. Threads have 2 MiB.
const STACK_BYTES_MAX: usize = 768 << 10;

/// The resources of one validation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowance {
    pub(super) steps: u64,
    /// The size of the errors created, including nested ones, in units of about 100 bytes.
    pub(super) errors: u64,
    pub(super) until: Instant,
}

/// The validation exceeded its allowance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BudgetExceeded;

/// The remaining allowance of the validation on this thread.
#[derive(Clone, Copy)]
struct ActiveMeter {
    allowance: Allowance,
    /// The stack position at the start.
    stack_at: usize,
}

thread_local! {
    static METER: Cell<Option<ActiveMeter>> = const { Cell::new(None) };
}

/// Runs a closure that accesses [`Metered`] values within an allowance; also returns what is left of it.
pub(super) fn metered<T>(
    allowance: Allowance,
    work: impl FnOnce() -> T,
) -> (Result<T, BudgetExceeded>, Allowance) {
    METER.set(Some(ActiveMeter { allowance, stack_at: stack_at() }));
    let worked = catch_unwind(AssertUnwindSafe(work));
    let left = METER.take().map_or(allowance, |meter| meter.allowance);
    match worked {
        Ok(worked) => (Ok(worked), left),
        Err(panic) if is_budget_exceeded(&*panic) => (Err(BudgetExceeded), left),
        Err(panic) => resume_unwind(panic),
    }
}

fn is_budget_exceeded(panic: &(dyn Any + Send)) -> bool {
    panic.is::<BudgetExceeded>()
}

/// Returns the approximate stack position.
fn stack_at() -> usize {
    let here = 0_u8;
    std::hint::black_box(&raw const here).addr()
}

/// Counts steps, and unwinds if none are left.
fn step(steps: u64) {
    let Some(mut meter) = METER.get() else { return };
    let left = meter.allowance.steps.checked_sub(steps);
    let is_glance = steps >= STEPS_PER_GLANCE || left.is_some_and(|left| left % STEPS_PER_GLANCE == 0);
    let is_late = is_glance && Instant::now() >= meter.allowance.until;
    let is_deep = meter.stack_at.abs_diff(stack_at()) > STACK_BYTES_MAX;
    meter.allowance.steps = left.unwrap_or(0);
    METER.set(Some(meter));
    if left.is_none() || is_late || is_deep {
        // Unwinds without running the panic hook, so nothing is logged.
        resume_unwind(Box::new(BudgetExceeded));
    }
}

/// Counts an error about a value. Nested errors keep copies of their values.
fn count_error(about: &Value) {
    step(1);
    let Some(mut meter) = METER.get() else { return };
    let left = meter.allowance.errors.checked_sub(ERROR_BULK + bulk(about));
    meter.allowance.errors = left.unwrap_or(0);
    METER.set(Some(meter));
    if left.is_none() {
        resume_unwind(Box::new(BudgetExceeded));
    }
}

fn text_steps(text: &str) -> u64 {
    1 + (text.len() / TEXT_BYTES_PER_STEP) as u64
}

/// The cost of comparing with a value.
fn weight(value: &Value) -> u64 {
    sum(value, 1)
}

/// The size of a copy of a value.
fn bulk(value: &Value) -> u64 {
    sum(value, OBJECT_BULK)
}

/// Sums up the parts of a value; an object counts `object` without its members.
fn sum(value: &Value, object: u64) -> u64 {
    match value {
        Value::String(text) => text_steps(text),
        Value::Array(items) => 1 + items.iter().map(|item| sum(item, object)).sum::<u64>(),
        Value::Object(members) => {
            let members = members.iter().map(|(name, value)| text_steps(name) + sum(value, object));
            object + members.sum::<u64>()
        }
        _ => 1,
    }
}

/// The JSON model of serde, metered.
pub(super) struct MeteredJson;

/// A metered value.
#[derive(Clone, Copy)]
pub(super) struct Metered<'a>(pub(super) &'a Value);

/// A metered object.
pub(super) struct Members<'a>(&'a Map<String, Value>);

/// A metered array.
pub(super) struct Elements<'a>(&'a [Value]);

impl Json for MeteredJson {
    type Node<'a> = Metered<'a>;
    type PreparedKey = String;
    type StringBuffer = ();

    // The library's own value for serde: a lookup compares keys down a tree.
    const KEYS_PER_LOOKUP: usize = 2;
    const ACYCLIC: bool = true;

    fn prepare_key(key: &str) -> String {
        key.to_owned()
    }

    fn with_string_node<T>((): &mut (), string: &str, f: impl FnOnce(Metered<'_>) -> T) -> T {
        step(text_steps(string));
        let name = Value::String(string.to_owned());
        f(Metered(&name))
    }
}

impl<'a> Node<'a, MeteredJson> for Metered<'a> {
    type Object = Members<'a>;
    type Array = Elements<'a>;
    type Number = &'a Number;

    fn as_object(&self) -> Option<Members<'a>> {
        step(1);
        self.0.as_object().map(Members)
    }

    fn as_array(&self) -> Option<Elements<'a>> {
        step(1);
        self.0.as_array().map(|items| Elements(items))
    }

    fn as_string(&self) -> Option<Cow<'a, str>> {
        let text = self.0.as_str();
        step(text.map_or(1, text_steps));
        text.map(Cow::Borrowed)
    }

    fn as_number(&self) -> Option<&'a Number> {
        step(1);
        match self.0 {
            Value::Number(number) => Some(number),
            _ => None,
        }
    }

    fn as_boolean(&self) -> Option<bool> {
        step(1);
        self.0.as_bool()
    }

    fn is_null(&self) -> bool {
        step(1);
        self.0.is_null()
    }

    fn json_type(&self) -> JsonType {
        step(1);
        match self.0 {
            Value::Null => JsonType::Null,
            Value::Bool(_) => JsonType::Boolean,
            Value::Number(_) => JsonType::Number,
            Value::String(_) => JsonType::String,
            Value::Array(_) => JsonType::Array,
            Value::Object(_) => JsonType::Object,
        }
    }

    fn equals_value(&self, expected: &Value) -> bool {
        step(weight(expected));
        cmp::equal(self.0, expected)
    }

    // The library calls this when it creates an error.
    fn to_value(&self) -> Cow<'a, Value> {
        count_error(self.0);
        Cow::Borrowed(self.0)
    }

    fn identity(&self) -> Option<NodeIdentity> {
        step(1);
        Some(NodeIdentity::new(std::ptr::from_ref(self.0).addr()))
    }
}

impl<'a> Object<'a, MeteredJson> for Members<'a> {
    type Node = Metered<'a>;
    type MemberName = &'a str;
    type MembersIter = MembersIter<'a>;

    fn len(&self) -> usize {
        self.0.len()
    }

    fn get(&self, key: &String) -> Option<Metered<'a>> {
        step(1);
        self.0.get(key).map(Metered)
    }

    fn members(&self) -> MembersIter<'a> {
        MembersIter(self.0.iter())
    }
}

pub(super) struct MembersIter<'a>(serde_json::map::Iter<'a>);

impl<'a> Iterator for MembersIter<'a> {
    type Item = (&'a str, Metered<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let (name, value) = self.0.next()?;
        step(text_steps(name));
        Some((name, Metered(value)))
    }
}

impl<'a> Array<'a, MeteredJson> for Elements<'a> {
    type Node = Metered<'a>;
    type ElementsIter = ElementsIter<'a>;

    fn len(&self) -> usize {
        self.0.len()
    }

    fn elements(&self) -> ElementsIter<'a> {
        ElementsIter(self.0.iter())
    }

    fn is_unique(&self) -> bool {
        step(self.0.iter().map(weight).sum());
        unique::is_unique(self.0)
    }
}

pub(super) struct ElementsIter<'a>(std::slice::Iter<'a, Value>);

impl<'a> Iterator for ElementsIter<'a> {
    type Item = Metered<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let value = self.0.next()?;
        step(1);
        Some(Metered(value))
    }
}
