//! Rows of the inbox as task requests, with the checks of `POST /task`.

use std::sync::Arc;

use wasmill_access::Identity;
use wasmill_model::{PluginName, Timestamp};
use wasmill_runtime::{InputBudget, NotReadyError};
use wasmill_scheduler::{Accept, InboxRefusal};
use wasmill_store::InboxRequest;

use crate::state::Api;
use crate::task::submit::{CheckedTask, Refusal, check_one};

/// Returns the function that turns rows of the inbox into tasks.
pub fn inbox_factory(api: &Api) -> Accept {
    let api = api.clone();
    Arc::new(move |row: &InboxRequest, now: Timestamp| {
        let name: Option<PluginName> = row.plugin.parse().ok();
        if let Some(Err(why)) = name.map(|name| api.runtime.check_ready(&name)) {
            return Err(match why {
                NotReadyError::Compiling(_) => InboxRefusal::Compiling,
                NotReadyError::Unknown(_) | NotReadyError::Rejected { .. } => {
                    InboxRefusal::UnknownPlugin(why.to_string())
                }
            });
        }
        let request = request(row).map_err(InboxRefusal::Invalid)?;
        let bytes_max = api.config.body.bytes_max;
        if request.len() > bytes_max {
            let why = format!("the task has {} bytes, and {bytes_max} are the most", request.len());
            return Err(InboxRefusal::Invalid(why));
        }
        let request =
            serde_json::from_str(&request).map_err(|error| InboxRefusal::Invalid(error.to_string()))?;
        check_one(&api, &Identity::default(), request, now, None, &mut InputBudget::full())
            .and_then(CheckedTask::without_files)
            .map_err(|refusal| InboxRefusal::Invalid(Refusal::into_text(refusal)))
    })
}

/// Builds the request, whose options must not have the plugin or the input again.
fn request(row: &InboxRequest) -> Result<String, String> {
    let InboxRequest { plugin, input, options, .. } = row;
    let options = options.trim().strip_prefix('{').and_then(|options| options.strip_suffix('}'));
    let options = options.ok_or("the options must be a JSON object")?.trim();
    let input = input.as_ref().map_or(String::new(), |input| format!(", \"input\": {input}"));
    let comma = if options.is_empty() { "" } else { ", " };
    Ok(format!("{{\"plugin\": \"{plugin}\"{input}{comma}{options}}}"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use wasmill_model::TaskId;

    use super::*;

    fn built(input: Option<&str>, options: &str) -> Result<String, String> {
        request(&InboxRequest {
            seq: 1,
            id: TaskId::new(),
            plugin: "a".to_owned(),
            input: input.map(str::to_owned),
            options: options.to_owned(),
            waited: Duration::ZERO,
        })
    }

    #[test]
    fn a_row_is_the_request_that_a_client_would_send() {
        let expected = r#"{"plugin": "a", "input": [1], "priority": 3}"#;
        assert_eq!(built(Some("[1]"), r#"{"priority": 3}"#).as_deref(), Ok(expected));
        assert_eq!(built(None, "{}").as_deref(), Ok(r#"{"plugin": "a"}"#));
        assert!(built(None, "[]").is_err());
    }
}
