//! The verbs of kinds that people write as files: create and update from one, get, list, delete, example.
//!
//! One idea: a noun whose objects are too deep for flags is these verbs and nothing else; one with flags of its own takes
//! the ones that it needs. Must never print a secret unless `--show-sensitive-values` asked for it.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::Value;

use crate::Error;
use crate::context::Context;
use crate::input;
use crate::output::{self, Output};
use crate::poll::WaitArgs;
use crate::resource::{self, DeleteArgs, Noun, OutputArg, ProjectArg};

/// How a Configuration is shown.
pub const CONFIGURATION: Noun = Noun {
    kind: &palladium_kinds::configuration::KIND,
    columns: &[
        ("NAME", "/metadata/name"),
        ("ACCESS BY DEFAULT", "/spec/accessControl/defaultAction"),
        ("STATUS", "/status/status"),
        ("MESSAGE", output::MESSAGE),
    ],
    loss: "",
};

/// How a Resiliency is shown.
pub const RESILIENCY: Noun = Noun {
    kind: &palladium_kinds::resiliency::KIND,
    columns: &[
        ("NAME", "/metadata/name"),
        ("SCOPES", "/scopes"),
        ("STATUS", "/status/status"),
        ("MESSAGE", output::MESSAGE),
    ],
    loss: "",
};

#[derive(Debug, Subcommand)]
pub enum Declared {
    /// Create one from a file
    Create(FromFile),
    /// Show one
    Get(Get),
    /// List all of a project
    List(List),
    /// Replace one by what is in a file
    Update(FromFile),
    /// Delete one
    Delete(Delete),
    /// Print an example file
    Example,
}

#[derive(Debug, Args)]
pub struct FromFile {
    /// Its name [default: metadata.name in the file]
    name: Option<String>,
    /// YAML or JSON file with one object, or - for standard input
    #[arg(short, long = "filename", visible_alias = "file", value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    project: ProjectArg,
    #[command(flatten)]
    wait: WaitArgs,
    #[command(flatten)]
    output: OutputArg,
}

#[derive(Debug, Args)]
pub struct Get {
    /// Its name
    name: String,
    #[command(flatten)]
    project: ProjectArg,
    /// Show secrets in clear: needs a role that may, and is audited
    #[arg(long)]
    show_sensitive_values: bool,
    #[command(flatten)]
    output: OutputArg,
}

#[derive(Debug, Args)]
pub struct List {
    #[command(flatten)]
    project: ProjectArg,
    #[command(flatten)]
    output: OutputArg,
}

#[derive(Debug, Args)]
pub struct Delete {
    /// Its name
    name: String,
    #[command(flatten)]
    project: ProjectArg,
    #[command(flatten)]
    delete: DeleteArgs,
}

impl Declared {
    pub async fn run(self, noun: &Noun, context: &Context) -> Result<(), Error> {
        match self {
            Self::Create(create) => create.create(noun, context).await,
            Self::Get(get) => get.run(noun, context).await,
            Self::List(list) => list.run(noun, context).await,
            Self::Update(update) => update.replace(noun, context).await,
            Self::Delete(delete) => delete.run(noun, context).await,
            Self::Example => noun.print_example(),
        }
    }
}

impl FromFile {
    /// `create`
    pub async fn create(self, noun: &Noun, context: &Context) -> Result<(), Error> {
        let project = context.project(self.project.project.as_deref())?;
        let (name, object) = self.object(noun)?;
        noun.create(context, project, &name, &object, &self.wait, self.output.output)
            .await
    }

    /// `update`
    pub async fn replace(self, noun: &Noun, context: &Context) -> Result<(), Error> {
        let project = context.project(self.project.project.as_deref())?;
        let (name, object) = self.object(noun)?;
        let path = resource::object(noun.kind, Some(project), &name);
        let answer = context.api.put(&path, &object).await?;
        noun.written(context, &path, answer, &self.wait, self.output.output)
            .await
    }

    /// The one object in the file, and its name.
    fn object(&self, noun: &Noun) -> Result<(String, Value), Error> {
        let fail = |reason: String| Error::File {
            path: self.file.clone(),
            reason,
        };
        let mut documents = input::documents(&self.file)?;
        let (Some((_, mut object)), true) = (documents.pop(), documents.is_empty()) else {
            return Err(fail(
                "does not hold exactly one object; use apply for several".to_owned(),
            ));
        };
        let kind = noun.kind.kind;
        if object["kind"].as_str().is_some_and(|found| found != kind) {
            return Err(fail(format!("holds an object of another kind than {kind}")));
        }
        let found = object["metadata"]["name"].as_str().map(str::to_owned);
        let name = match (&self.name, found) {
            (Some(name), Some(found)) if *name != found => {
                return Err(fail(format!("holds {found:?} and not {name:?}")));
            }
            (Some(name), _) => name.clone(),
            (None, Some(found)) => found,
            (None, None) => return Err(fail(format!("holds a {kind} without metadata.name"))),
        };
        if !object["metadata"].is_object() {
            object["metadata"] = serde_json::json!({});
        }
        object["metadata"]["name"] = name.clone().into();
        Ok((name, object))
    }
}

impl Get {
    /// `get`
    pub async fn run(self, noun: &Noun, context: &Context) -> Result<(), Error> {
        let project = context.project(self.project.project.as_deref())?;
        if !self.show_sensitive_values {
            return noun.get(context, Some(project), &self.name, self.output.output).await;
        }
        if noun.kind.crud.read_sensitive.is_none() {
            return Err(Error::Argument {
                argument: "--show-sensitive-values",
                reason: format!("a {} holds no secrets", noun.kind.kind),
            });
        }
        let path = resource::object(noun.kind, Some(project), &self.name);
        let found = context.api.get(&format!("{path}?showsensitive=true")).await?;
        // No column is deep enough for them.
        let output = match self.output.output {
            Output::Table => Output::Yaml,
            other => other,
        };
        output.object(&found, noun.columns);
        Ok(())
    }
}

impl List {
    /// `list`
    pub async fn run(self, noun: &Noun, context: &Context) -> Result<(), Error> {
        let project = context.project(self.project.project.as_deref())?;
        noun.list(context, Some(project), self.output.output, None).await
    }
}

impl Delete {
    /// `delete`
    pub async fn run(self, noun: &Noun, context: &Context) -> Result<(), Error> {
        let project = context.project(self.project.project.as_deref())?;
        noun.delete(context, Some(project), &self.name, &self.delete).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(name: Option<&str>, text: &str) -> Result<(String, Value), String> {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("x.yaml");
        std::fs::write(&file, text).expect("written");
        let from = FromFile {
            name: name.map(str::to_owned),
            file,
            project: ProjectArg { project: None },
            wait: WaitArgs {
                wait: false,
                timeout: 1,
            },
            output: OutputArg { output: Output::Json },
        };
        from.object(&RESILIENCY).map_err(|error| error.to_string())
    }

    #[test]
    fn a_file_holds_one_object_of_the_kind_and_its_name() {
        let text = "kind: Resiliency\nmetadata: {name: a}\nspec: {}\n";
        assert_eq!(object(None, text).expect("good").0, "a");
        let named = object(Some("b"), "spec: {}").expect("good");
        assert_eq!(
            (named.0.as_str(), &named.1["metadata"]["name"]),
            ("b", &Value::from("b"))
        );
        for (name, text, told) in [
            (Some("b"), text, "holds \"a\" and not \"b\""),
            (None, "spec: {}", "without metadata.name"),
            (
                None,
                "kind: Component\nmetadata: {name: a}",
                "another kind than Resiliency",
            ),
            (None, "kind: Resiliency\n---\nkind: Resiliency", "exactly one object"),
        ] {
            let error = object(name, text).expect_err("refused");
            assert!(error.contains(told), "{error}");
        }
    }
}
