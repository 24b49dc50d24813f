//! What all stored kinds have in common on the command line: their paths, their tables, and get, list, delete, example.
//!
//! Must never know a field of a particular kind beyond the columns of its table.

use clap::Args;
use palladium_kinds::definition::{Group, KindDefinition};
use serde_json::Value;

use crate::Error;
use crate::context::Context;
use crate::input;
use crate::output::{self, Column, Output};
use crate::poll::{self, WaitArgs};

/// A kind as the command line shows it.
pub struct Noun {
    /// Its definition.
    pub kind: &'static KindDefinition,
    /// Its table.
    pub columns: &'static [Column],
    /// What is lost with it when it is deleted, from "with" on.
    pub loss: &'static str,
}

/// `-p`: every command on an object of a project has it.
#[derive(Debug, Args)]
pub struct ProjectArg {
    /// Name or id of the project [default: the one chosen by `project use`]
    #[arg(short, long)]
    pub project: Option<String>,
}

/// `-o`: every command that shows something has it.
#[derive(Debug, Args)]
pub struct OutputArg {
    /// How to print the answer
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
}

/// Flags of every `delete` of something that holds data.
#[derive(Debug, Args)]
pub struct DeleteArgs {
    /// Do not ask; needed where there is no terminal to ask at
    #[arg(long, visible_alias = "approve")]
    pub yes: bool,
    #[command(flatten)]
    pub wait: WaitArgs,
}

/// The collection's path. `project` is needed for kinds that live in one.
pub fn collection(kind: &KindDefinition, project: Option<&str>) -> String {
    let prefix = Group::Cra.prefix();
    match project {
        Some(project) => format!("{prefix}/projects/{}/{}", segment(project), kind.plural),
        None => format!("{prefix}/{}", kind.plural),
    }
}

/// One object's path.
pub fn object(kind: &KindDefinition, project: Option<&str>, name: &str) -> String {
    format!("{}/{}", collection(kind, project), segment(name))
}

/// A name as one path segment: whatever the user typed stays inside of it.
pub fn segment(name: &str) -> String {
    url::form_urlencoded::byte_serialize(name.as_bytes())
        .collect::<String>()
        .replace('+', "%20")
        .replace('.', "%2E")
}

impl Noun {
    /// `get NAME`
    pub async fn get(&self, context: &Context, project: Option<&str>, name: &str, output: Output) -> Result<(), Error> {
        let mut path = object(self.kind, project, name);
        if output == Output::Table {
            // No column holds a secret, and each reading of one stands in the audit log.
            path.push_str(poll::WITHOUT_SECRETS);
        }
        let found = context.api.get(&path).await?;
        output.object(&found, self.columns);
        if output == Output::Table {
            for message in poll::messages(&found) {
                output::note(&message);
            }
        }
        Ok(())
    }

    /// `list`
    pub async fn list(
        &self,
        context: &Context,
        project: Option<&str>,
        output: Output,
        current: Option<&str>,
    ) -> Result<(), Error> {
        let list = context.api.get_all(&collection(self.kind, project)).await?;
        output.list(&list, self.columns, current);
        Ok(())
    }

    /// `delete NAME`
    pub async fn delete(
        &self,
        context: &Context,
        project: Option<&str>,
        name: &str,
        DeleteArgs { yes, wait }: &DeleteArgs,
    ) -> Result<(), Error> {
        let inside = project.map_or_else(String::new, |project| format!(" of project {project}"));
        let consequence = format!("{}{inside} would be deleted {}", self.title(name), self.loss);
        input::confirm(consequence.trim_end(), *yes)?;
        let path = object(self.kind, project, name);
        let answer = context.api.delete(&path).await?;
        if let Some(message) = answer["status"]["messages"][0]["message"].as_str() {
            output::note(message);
        }
        if wait.wait {
            poll::until_gone(context, &path, &self.title(name), wait).await?;
            output::note(&format!("{} deleted", self.title(name)));
        } else {
            output::note(&format!("{} is being deleted", self.title(name)));
        }
        Ok(())
    }

    /// `create NAME`, in a project: `written` is the whole of it.
    pub async fn create(
        &self,
        context: &Context,
        project: &str,
        name: &str,
        written: &Value,
        wait: &WaitArgs,
        output: Output,
    ) -> Result<(), Error> {
        let answer = context.api.post(&collection(self.kind, Some(project)), written).await?;
        let path = object(self.kind, Some(project), name);
        self.written(context, &path, answer, wait, output).await
    }

    /// What follows a create or update: waits if asked, then prints the object.
    pub async fn written(
        &self,
        context: &Context,
        path: &str,
        answer: Value,
        wait: &WaitArgs,
        output: Output,
    ) -> Result<(), Error> {
        let name = answer["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let mut shown = answer;
        if wait.wait {
            shown = poll::until_ready(context, path, &self.title(&name), wait).await?;
            if output != Output::Table && self.kind.crud.read_sensitive.is_some() {
                // Programs get what a plain read gives: for an App ID its token, read once.
                shown = context.api.get(path).await?;
            }
        }
        output.object(&shown, self.columns);
        if output == Output::Table {
            for message in poll::messages(&shown) {
                output::note(&message);
            }
        }
        Ok(())
    }

    /// `example`
    pub fn print_example(&self) -> Result<(), Error> {
        output::line(self.kind.example.trim_end());
        Ok(())
    }

    fn title(&self, name: &str) -> String {
        format!("{} {name}", self.kind.kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_its_segment() {
        assert_eq!(segment("../x?y#z"), "%2E%2E%2Fx%3Fy%23z");
        assert_eq!(segment("orders"), "orders");
    }
}
