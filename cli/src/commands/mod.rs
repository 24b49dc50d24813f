//! The registry of commands: one line per noun here, one file per verb below it.
//!
//! Must never contain what a command does.

mod apikey;
mod appid;
mod apply;
mod audit;
mod call;
mod completion;
mod component;
mod declared;
mod env;
mod httpendpoint;
mod login;
mod project;
mod region;
mod subscription;
mod version;
mod whoami;

use clap::Subcommand;

use crate::Error;
use crate::context::{ConnectionArgs, Context};

/// Every command of the control plane's client.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Save which control plane to talk to, and the API key for it
    Login(login::Login),
    /// Show who you are, your role and the control plane
    Whoami(whoami::Whoami),
    /// Projects: the unit of isolation
    #[command(subcommand)]
    Project(project::Project),
    /// App IDs: one identity, one token, one Dapr Server each
    #[command(subcommand)]
    Appid(appid::AppId),
    /// Dapr components
    #[command(subcommand)]
    Component(component::Component),
    /// Subscriptions: which topic is delivered where
    #[command(subcommand)]
    Subscription(subscription::Subscription),
    /// Configurations of App IDs: access control, tracing, pipelines
    #[command(subcommand)]
    Configuration(declared::Declared),
    /// Resiliency policies: timeouts, retries, circuit breakers
    #[command(subcommand)]
    Resiliency(declared::Declared),
    /// HTTP endpoints: addresses outside that App IDs invoke by name
    #[command(subcommand)]
    Httpendpoint(httpendpoint::HttpEndpoint),
    /// API keys for people and automation
    #[command(subcommand, alias = "apikeys")]
    Apikey(apikey::ApiKey),
    /// Regions: where App IDs run
    #[command(subcommand)]
    Region(region::Region),
    /// Create or replace everything in a file or folder
    Apply(apply::Apply),
    /// Call the Dapr API as an App ID
    #[command(subcommand)]
    Call(call::Call),
    /// Print the variables that an application needs to run as an App ID
    Env(env::Env),
    /// Who did what and when
    #[command(subcommand)]
    Audit(audit::Audit),
    /// Show the version
    Version(version::Version),
    /// Print a completion script for a shell
    Completion(completion::Completion),
}

/// Runs one command.
pub async fn run(command: Command, connection: &ConnectionArgs, whole: clap::Command) -> Result<(), Error> {
    match command {
        Command::Version(version) => version.run(),
        Command::Completion(completion) => completion.run(whole),
        Command::Login(login) => login.run(connection).await,
        Command::Project(project::Project::Example) => project::NOUN.print_example(),
        Command::Appid(appid::AppId::Example) => appid::NOUN.print_example(),
        Command::Component(component::Component::Example) => component::NOUN.print_example(),
        Command::Subscription(subscription::Subscription::Example) => subscription::NOUN.print_example(),
        Command::Configuration(declared::Declared::Example) => declared::CONFIGURATION.print_example(),
        Command::Resiliency(declared::Declared::Example) => declared::RESILIENCY.print_example(),
        Command::Httpendpoint(httpendpoint::HttpEndpoint::Example) => httpendpoint::NOUN.print_example(),
        online => {
            let mut context = Context::resolve(connection)?;
            match online {
                Command::Whoami(whoami) => whoami.run(&context).await,
                Command::Project(project) => project.run(&mut context).await,
                Command::Appid(appid) => appid.run(&context).await,
                Command::Component(component) => component.run(&context).await,
                Command::Subscription(subscription) => subscription.run(&context).await,
                Command::Configuration(verb) => verb.run(&declared::CONFIGURATION, &context).await,
                Command::Resiliency(verb) => verb.run(&declared::RESILIENCY, &context).await,
                Command::Httpendpoint(endpoint) => endpoint.run(&context).await,
                Command::Apikey(apikey) => apikey.run(&context).await,
                Command::Region(region) => region.run(&context).await,
                Command::Apply(apply) => apply.run(&context).await,
                Command::Call(call) => call.run(&context).await,
                Command::Env(env) => env.run(&context).await,
                Command::Audit(audit) => audit.run(&context).await,
                Command::Version(_) | Command::Completion(_) | Command::Login(_) => Ok(()),
            }
        }
    }
}
