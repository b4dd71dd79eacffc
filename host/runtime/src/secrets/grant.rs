//! The secrets that one version of a plugin may use.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use wasmill_model::PluginName;

use crate::secrets::redactor::{Redactor, VALUE_BYTES_MIN};
use crate::secrets::rule::SecretRule;
use crate::secrets::run::{Current, RunSecrets};
use crate::secrets::source::{Secret, SecretValue, Secrets};

/// The secrets that a plugin may use.
pub(crate) struct GrantedSecrets {
    granted: Vec<Granted>,
    /// The redactor of the values that were revealed last, which most runs share.
    redactor: Mutex<Option<(Vec<SecretValue>, Arc<Redactor>)>>,
}

struct Granted {
    name: String,
    rule: SecretRule,
    secret: Arc<Secret>,
}

impl GrantedSecrets {
    /// Grants what a manifest asks for; `None` if that is nothing.
    ///
    /// # Errors
    ///
    /// Names the secret that there is not, or that this plugin may not use.
    pub(crate) fn new(
        secrets: &Secrets,
        rules: &BTreeMap<String, SecretRule>,
        plugin: &PluginName,
        digest: &str,
    ) -> Result<Option<Arc<Self>>, String> {
        if rules.is_empty() {
            return Ok(None);
        }
        let granted = rules.iter().map(|(name, rule)| {
            let secret = secrets.find(name, plugin, digest)?;
            Ok(Granted { name: name.clone(), rule: rule.clone(), secret })
        });
        let granted = granted.collect::<Result<_, String>>();
        let granted = Self {
            granted: granted.map_err(|why| format!("allow.secrets: {why}"))?,
            redactor: Mutex::default(),
        };
        granted.current().map_err(|why| format!("allow.secrets: {why}"))?;
        Ok(Some(Arc::new(granted)))
    }

    /// Reads the values for a run.
    ///
    /// # Errors
    ///
    /// Names the secret that cannot be read, or not be used in this way.
    pub(crate) fn for_run(&self) -> Result<RunSecrets, String> {
        let current = self.current()?;
        let revealed: Vec<_> =
            current.iter().filter(|current| *current.rule == SecretRule::Revealed).collect();
        let redactor = (!revealed.is_empty()).then(|| self.redactor(&revealed));
        Ok(RunSecrets::new(&current, redactor))
    }

    fn current(&self) -> Result<Vec<Current<'_>>, String> {
        let current = self.granted.iter().map(|Granted { name, rule, secret }| {
            let value = secret.value().and_then(|value| check(rule, &value).map(|()| value));
            let value = value.map_err(|why| format!("the secret {name} cannot be used: {why}"))?;
            Ok(Current { name, rule, value })
        });
        current.collect()
    }

    fn redactor(&self, revealed: &[&Current<'_>]) -> Arc<Redactor> {
        let mut kept = self.redactor.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((values, redactor)) = &*kept
            && values.iter().zip(revealed).all(|(kept, current)| Arc::ptr_eq(kept, &current.value))
        {
            return Arc::clone(redactor);
        }
        let redactor =
            Arc::new(Redactor::new(revealed.iter().map(|current| (current.name, current.value.as_str()))));
        let values = revealed.iter().map(|current| Arc::clone(&current.value)).collect();
        *kept = Some((values, Arc::clone(&redactor)));
        redactor
    }
}

/// Checks that a value can be used in this way.
fn check(rule: &SecretRule, value: &str) -> Result<(), String> {
    match rule {
        SecretRule::Placed { .. } if value.chars().any(char::is_control) => {
            Err("it has control characters, which no header may have".to_owned())
        }
        SecretRule::Revealed if value.len() < VALUE_BYTES_MIN => Err(format!(
            "it has fewer than {VALUE_BYTES_MIN} bytes, too few to keep it out of logs and results; make it longer"
        )),
        SecretRule::Placed { .. } | SecretRule::Revealed => Ok(()),
    }
}

impl fmt::Debug for GrantedSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.granted.iter().map(|granted| &granted.name)).finish()
    }
}
