//! `env`: what an application needs to run as an App ID, in the form that each SDK reads.
//!
//! Prints a token: that is its purpose. The variables that replace a program's roots name a file with the system's roots and
//! Palladium's, so that everything else the program dials still works. Must never run anything.

use clap::{Args, ValueEnum};
use secrecy::ExposeSecret;

use crate::Error;
use crate::bundle;
use crate::context::Context;
use crate::data_plane::Access;
use crate::output;
use crate::resource::ProjectArg;

#[derive(Debug, Args)]
pub struct Env {
    /// The App ID
    id: String,
    #[command(flatten)]
    project: ProjectArg,
    /// For which reader
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Format {
    /// `export NAME='value'` lines: eval "$(palladium env orders)"
    #[default]
    Shell,
    /// `NAME=value` lines, as --env-file readers want them
    Dotenv,
}

impl Env {
    pub async fn run(self, context: &Context) -> Result<(), Error> {
        let project = context.project(self.project.project.as_deref())?;
        let access = Access::of(context, project, &self.id).await?;
        for (name, value) in variables(context, &access, &self.id)? {
            output::line(&match self.format {
                Format::Shell => format!("export {name}='{}'", value.replace('\'', r"'\''")),
                Format::Dotenv => format!("{name}={value}"),
            });
        }
        Ok(())
    }
}

fn variables(context: &Context, access: &Access, id: &str) -> Result<Vec<(&'static str, String)>, Error> {
    let mut variables = vec![
        ("DAPR_HTTP_ENDPOINT", access.http_endpoint.clone()),
        ("DAPR_GRPC_ENDPOINT", access.grpc_endpoint.clone()),
        ("DAPR_API_TOKEN", access.token.expose_secret().to_owned()),
        ("DAPR_APP_ID", id.to_owned()),
        ("APP_ID", id.to_owned()),
    ];
    let Some(ca_file) = &context.ca_file else {
        return Ok(variables);
    };
    let absolute = std::path::absolute(ca_file).map_err(|error| Error::File {
        path: ca_file.clone(),
        reason: error.to_string(),
    })?;
    let bundle = context.home.save_bundle(&bundle::with_system_roots(&absolute)?)?;
    for name in [
        "SSL_CERT_FILE",
        "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
        "REQUESTS_CA_BUNDLE",
    ] {
        variables.push((name, bundle.display().to_string()));
    }
    // These add to the system's roots, or are for Dapr alone.
    for name in ["NODE_EXTRA_CA_CERTS", "DAPR_GRPC_TLS_CA_PATH"] {
        variables.push((name, absolute.display().to_string()));
    }
    Ok(variables)
}
