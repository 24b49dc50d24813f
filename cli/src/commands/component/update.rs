//! `component update NAME`: named settings are replaced or added, the others stay as they are.
//!
//! One idea: read, change, replace, guarded by `resourceVersion`. Must never overwrite a change that somebody made
//! meanwhile.

use clap::Args;
use serde_json::Value;

use super::NOUN;
use super::create::settings;
use crate::Error;
use crate::context::Context;
use crate::input::Pair;
use crate::poll::WaitArgs;
use crate::resource::{self, OutputArg, ProjectArg};

#[derive(Debug, Args)]
pub struct Update {
    /// Name of the component
    name: String,
    #[command(flatten)]
    project: ProjectArg,
    /// Setting (repeatable); the value - reads standard input, or asks
    #[arg(long = "metadata", value_name = "K=V")]
    metadata: Vec<Pair>,
    /// App IDs that may use it
    #[arg(long, value_delimiter = ',')]
    scopes: Option<Vec<String>>,
    #[command(flatten)]
    wait: WaitArgs,
    #[command(flatten)]
    output: OutputArg,
}

impl Update {
    pub async fn run(self, context: &Context) -> Result<(), Error> {
        let project = context.project(self.project.project.as_deref())?;
        let path = resource::object(NOUN.kind, Some(project), &self.name);
        if self.metadata.is_empty() && self.scopes.is_none() {
            return Err(Error::NothingToChange);
        }
        // Read, change, replace: resourceVersion makes the control plane refuse it when somebody else was faster.
        let mut component = context.api.get(&path).await?;
        merge(
            &mut component["spec"]["metadata"],
            settings("--metadata", &self.metadata)?,
        );
        if let Some(scopes) = self.scopes {
            component["scopes"] = scopes.into();
        }
        if let Some(object) = component.as_object_mut() {
            object.remove("status");
        }
        let answer = context.api.put(&path, &component).await?;
        NOUN.written(context, &path, answer, &self.wait, self.output.output)
            .await
    }
}

/// Names of settings are compared as Dapr does: without case.
fn merge(present: &mut Value, changes: Vec<Value>) {
    if !present.is_array() {
        *present = Value::Array(Vec::new());
    }
    let Some(items) = present.as_array_mut() else { return };
    for change in changes {
        let same = |item: &Value| match (item["name"].as_str(), change["name"].as_str()) {
            (Some(one), Some(other)) => one.eq_ignore_ascii_case(other),
            _ => false,
        };
        match items.iter().position(same) {
            Some(index) => items[index] = change,
            None => items.push(change),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn named_settings_change_and_the_others_stay() {
        let mut present = json!([{"name": "redisHost", "value": "a"}, {"name": "redisDB", "value": "0"}]);
        merge(
            &mut present,
            vec![
                json!({"name": "REDISHOST", "value": "b"}),
                json!({"name": "x", "value": "y"}),
            ],
        );
        let expected = json!([
            {"name": "REDISHOST", "value": "b"}, {"name": "redisDB", "value": "0"}, {"name": "x", "value": "y"},
        ]);
        assert_eq!(present, expected);
    }
}
