//! What the attackers were answered.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::attackers::ANSWERED;
use crate::wire::Reply;

/// Codes of a 5xx that refuses a load, so that others are served.
const REFUSALS: [&str; 2] = ["overloaded", "too-many-streams"];

/// How many different faults are kept.
const FAULTS_MAX: usize = 50;

/// Counts of answers by attacker.
#[derive(Debug, Default)]
pub(crate) struct Tally(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    answers: BTreeMap<(&'static str, String), u64>,
    faults: BTreeMap<String, u64>,
}

impl Tally {
    /// Counts an answer to an attacker; `None` for a connection that was closed without one.
    pub(crate) fn count(&self, attacker: &'static str, tried: &str, reply: Option<&Reply>) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(reply) = reply else {
            *counts.answers.entry((attacker, "closed".to_owned())).or_default() += 1;
            return;
        };
        let answer = format!("{} {}", reply.status, reply.code());
        if reply.status >= 500 && !REFUSALS.contains(&reply.code().as_str()) {
            let fault = format!("{attacker} got {answer} for {tried}");
            if counts.faults.len() < FAULTS_MAX || counts.faults.contains_key(&fault) {
                *counts.faults.entry(fault).or_default() += 1;
            }
        }
        *counts.answers.entry((attacker, answer.trim_end().to_owned())).or_default() += 1;
    }

    /// Prints the answers, and returns those that must not be. A kind that was never answered did not attack.
    pub(crate) fn report(&self, only: &[String]) -> Vec<String> {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for ((attacker, answer), count) in &counts.answers {
            println!("  {attacker:<16} {answer:<34} {count:>9}");
        }
        let mut faults: Vec<_> =
            counts.faults.iter().map(|(fault, count)| format!("{fault} ({count} times)")).collect();
        let took_part = |kind: &&&str| only.is_empty() || only.iter().any(|named| named == **kind);
        for kind in ANSWERED.iter().filter(took_part) {
            if !counts.answers.keys().any(|(known, answer)| known == kind && answer != "closed") {
                faults.push(format!("the attackers '{kind}' were never answered"));
            }
        }
        faults
    }
}
