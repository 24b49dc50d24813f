//! `apply -f FILE|DIR`: creates or replaces every object, in an order in which references exist before they are used.
//!
//! Additive: it must never delete. The first failure stops it, and says what was done before.

use std::path::PathBuf;

use clap::Args;
use palladium_kinds::definition::{KindDefinition, Scope};
use palladium_kinds::registry;
use serde_json::Value;

use crate::Error;
use crate::context::Context;
use crate::input;
use crate::output;
use crate::poll::{self, WaitArgs};
use crate::resource::{self, ProjectArg};

#[derive(Debug, Args)]
pub struct Apply {
    /// YAML or JSON file, a folder of them, or - for standard input
    #[arg(short, long = "filename", visible_alias = "file", value_name = "FILE|DIR")]
    file: PathBuf,
    #[command(flatten)]
    project: ProjectArg,
    /// Check everything on this side and say what would be done
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    wait: WaitArgs,
}

struct Step {
    kind: &'static KindDefinition,
    order: usize,
    name: String,
    object: Value,
}

impl Apply {
    pub async fn run(self, context: &Context) -> Result<(), Error> {
        let mut steps = self.steps()?;
        steps.sort_by_key(|step| step.order);
        for (done, step) in steps.iter().enumerate() {
            if let Err(error) = self.step(context, step).await {
                output::note(&format!("{} {} failed", step.kind.kind, step.name));
                for left in &steps[done + 1..] {
                    output::note(&format!("{} {} was not attempted", left.kind.kind, left.name));
                }
                return Err(error);
            }
        }
        Ok(())
    }

    async fn step(&self, context: &Context, step: &Step) -> Result<(), Error> {
        let project = match step.kind.scope {
            Scope::Project => Some(context.project(self.project.project.as_deref())?),
            Scope::Organization => None,
        };
        let title = format!("{} {}", step.kind.kind, step.name);
        if self.dry_run {
            output::line(&format!("{title} would be applied"));
            return Ok(());
        }
        let path = resource::object(step.kind, project, &step.name);
        let word = match context.api.put(&path, &step.object).await {
            Ok(_) => "replaced",
            Err(Error::Refused { status: 404, .. }) => {
                let collection = resource::collection(step.kind, project);
                context.api.post(&collection, &step.object).await?;
                "created"
            }
            Err(error) => return Err(error),
        };
        if self.wait.wait {
            poll::until_ready(context, &path, &title, &self.wait).await?;
        }
        output::line(&format!("{title} {word}"));
        Ok(())
    }

    fn steps(&self) -> Result<Vec<Step>, Error> {
        let documents = input::documents(&self.file)?;
        if documents.is_empty() {
            return Err(Error::File {
                path: self.file.clone(),
                reason: "holds no object".to_owned(),
            });
        }
        documents.into_iter().map(|(path, object)| step(path, object)).collect()
    }
}

fn step(path: PathBuf, object: Value) -> Result<Step, Error> {
    let fail = |reason: String| Error::File {
        path: path.clone(),
        reason,
    };
    let kind_name = object["kind"]
        .as_str()
        .ok_or_else(|| fail("an object without kind".to_owned()))?;
    let order = registry::KINDS
        .iter()
        .position(|kind| kind.kind == kind_name && kind.crud.update.is_some())
        .ok_or_else(|| {
            let known = registry::KINDS.iter().filter(|kind| kind.crud.update.is_some());
            let known: Vec<_> = known.map(|kind| kind.kind).collect();
            fail(format!(
                "kind {kind_name:?} cannot be applied; use {}",
                known.join(", ")
            ))
        })?;
    let name = object["metadata"]["name"].as_str().filter(|name| !name.is_empty());
    let name = name
        .ok_or_else(|| fail(format!("a {kind_name} without metadata.name")))?
        .to_owned();
    Ok(Step {
        kind: registry::KINDS[order],
        order,
        name,
        object,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_unknown_kind_names_the_file_and_the_known_ones() {
        let error = step(
            PathBuf::from("a.yaml"),
            json!({"kind": "Widget", "metadata": {"name": "x"}}),
        );
        let message = error.err().expect("unknown").to_string();
        assert!(message.contains("a.yaml") && message.contains("Component"), "{message}");
    }

    #[test]
    fn projects_come_before_what_lives_in_them() {
        let order = |kind: &str| match step(PathBuf::new(), json!({"kind": kind, "metadata": {"name": "x"}})) {
            Ok(step) => step.order,
            Err(error) => panic!("{error}"),
        };
        let kinds = [
            "Project",
            "Configuration",
            "Component",
            "Subscription",
            "Resiliency",
            "HTTPEndpoint",
            "AppIdentity",
        ];
        assert!(kinds.map(order).is_sorted_by(|one, next| one < next));
    }
}
