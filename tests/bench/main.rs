//! `./dev bench`: the same load on our Dapr Server and on Dapr's own, by turns in one run, as a table of ratios; then
//! through our gateway, alone.
//!
//! One idea: on a shared machine only work per CPU-second of the server process compares, and only side by side. It must
//! never keep results: they are printed, and whoever wants them copies them with the machine they came from.
#![allow(clippy::print_stdout, clippy::print_stderr)] // a command-line tool talks on the terminal

mod app;
mod destination;
mod events;
mod gateway;
mod invoke;
mod load;
mod process;
mod raw;
mod raw_grpc;
mod report;
mod requests;
mod target;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context, Result};
use clap::Parser;
use palladium_tests::system::executable;

use destination::Destination;
use process::Process;
use report::{Measures, Report};
use requests::{Action, Wire};
use target::{Server, Setup, Target};

#[derive(Parser)]
#[command(about = "Load on our Dapr Server beside Dapr's own, and through our gateway")]
struct Options {
    /// Folder with Dapr's own programs
    #[arg(long)]
    peers: PathBuf,
    /// Rounds; each visits every target once
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds per measurement
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Only workloads whose name contains this
    #[arg(long, default_value = "")]
    only: String,
}

impl Options {
    fn wants(&self, name: &str) -> bool {
        name.contains(&self.only)
    }

    fn chosen<'a>(&self, workloads: &'a [Workload]) -> impl Iterator<Item = &'a Workload> {
        workloads.iter().filter(|workload| self.wants(workload.name))
    }

    fn span(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }
}

/// One kind of load. A value has 1 KB.
struct Workload {
    name: &'static str,
    wire: Wire,
    action: Action,
    connections: usize,
}

impl Workload {
    /// Loads a server for so long; it costs what these processes spend meanwhile.
    async fn measure(
        &self,
        server: &Server,
        processes: &[&Process],
        span: Duration,
        measures: &mut Measures,
    ) -> Result<()> {
        let address = match self.wire {
            Wire::Http => server.http,
            Wire::Grpc => server.grpc,
        };
        let to = Destination::plain(address);
        let load = load::connect(&to, self.wire, self.action, self.connections).await;
        let mut load = load.context(self.name)?;
        load.run(WARM_UP).await.context(self.name)?;
        let before = process::cpu_seconds(processes)?;
        let mut result = load.run(span).await.context(self.name)?;
        measures.add_load(self.name, &mut result, process::cpu_seconds(processes)? - before);
        Ok(())
    }
}

const WORKLOADS: &[Workload] = &[
    Workload {
        name: "HTTP get",
        wire: Wire::Http,
        action: Action::Get,
        connections: 16,
    },
    Workload {
        name: "HTTP save",
        wire: Wire::Http,
        action: Action::Save,
        connections: 16,
    },
    Workload {
        name: "gRPC get",
        wire: Wire::Grpc,
        action: Action::Get,
        connections: 16,
    },
    Workload {
        name: "gRPC save",
        wire: Wire::Grpc,
        action: Action::Save,
        connections: 16,
    },
    Workload {
        name: "HTTP publish",
        wire: Wire::Http,
        action: Action::Publish,
        connections: 16,
    },
    Workload {
        name: "gRPC publish",
        wire: Wire::Grpc,
        action: Action::Publish,
        connections: 16,
    },
    Workload {
        name: "HTTP get, one connection",
        wire: Wire::Http,
        action: Action::Get,
        connections: 1,
    },
];

/// How long a server is left alone before its memory is read.
const IDLE: Duration = Duration::from_secs(2);
/// Load before each measurement.
const WARM_UP: Duration = Duration::from_millis(500);

// One thread: the client never takes more than one core from the server.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(&Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: &Options) -> Result<()> {
    let targets = [
        Target {
            name: "Palladium",
            program: executable("palladium-dapr-server")?,
        },
        Target {
            name: "daprd 1.18.1",
            program: options.peers.join("daprd"),
        },
    ];
    let mut through = gateway::WORKLOADS.iter().chain([&gateway::ADDED]);
    let through_gateway = through.any(|w| options.wants(w.name));
    let mut report = Report::new(targets.iter().map(|t| t.name));
    for round in 1..=options.rounds {
        // There and back: what warms up or wears out over a round then favours nobody.
        let mut order: Vec<_> = targets.iter().enumerate().collect();
        if round % 2 == 0 {
            order.reverse();
        }
        for (index, target) in order {
            eprintln!("round {round} of {}: {}", options.rounds, target.name);
            for measures in [
                visit(target, options).await,
                invoke::visit(target, options).await,
                events::visit(target, options).await,
            ] {
                report.add(index, measures.with_context(|| target.name)?);
            }
        }
        if through_gateway {
            eprintln!("round {round} of {}: gateway", options.rounds);
            let measures = gateway::visit(&targets[0], options).await;
            report.add(0, measures.context("gateway")?);
        }
    }
    print!("{report}");
    report.verdict()
}

/// One server with components in memory: starts it, measures everything once, stops it.
async fn visit(target: &Target, options: &Options) -> Result<Measures> {
    let (server, cold_start) = target.start(&Setup::default()).await?;
    let mut measures = Measures::default();
    measures.add("cold start, ms", cold_start.as_secs_f64() * 1e3);
    tokio::time::sleep(IDLE).await;
    measures.add("idle memory, MB", server.process.resident_megabytes()?);
    for workload in options.chosen(WORKLOADS) {
        let processes = [&server.process];
        workload
            .measure(&server, &processes, options.span(), &mut measures)
            .await?;
    }
    measures.add("memory after load, MB", server.process.resident_megabytes()?);
    server.stop().await?;
    Ok(measures)
}
