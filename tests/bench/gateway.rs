//! What the gateway costs: the same requests with TLS and a token through a whole installation.
//!
//! One idea: what a request costs is what gateway and Dapr Server spend together; what it takes longer is told beside a
//! Dapr Server that is called directly, in the same breath. There is no counterpart of Dapr's, so no ratio. It must never
//! measure processes that were replaced meanwhile.

use std::{fs, net::Ipv4Addr, time::Duration};

use anyhow::{Context, Result, ensure};
use palladium_tests::{
    app::App,
    system::{GATEWAY, System},
};

use crate::{
    Options, WARM_UP, Workload,
    destination::Destination,
    load::{self, Outcome},
    process::{self, Process},
    report::Measures,
    requests::{Action, Wire},
    target::{Setup, Target},
};

/// As many connections as for the other targets.
pub const WORKLOADS: &[Workload] = &[
    Workload {
        name: "HTTP get through the gateway",
        wire: Wire::Http,
        action: Action::Get,
        connections: 16,
    },
    Workload {
        name: "HTTP save through the gateway",
        wire: Wire::Http,
        action: Action::Save,
        connections: 16,
    },
];

/// One connection, with and without the gateway.
pub const ADDED: Workload = Workload {
    name: "HTTP get, one connection, added by the gateway",
    wire: Wire::Http,
    action: Action::Get,
    connections: 1,
};
/// How often the one connection changes between them.
const TURNS: u32 = 4;

/// Starts an installation, measures everything once, stops it.
pub async fn visit(direct: &Target, options: &Options) -> Result<Measures> {
    let span = options.span();
    let system = System::start().await?;
    let (app, destination) = prepare(&system).await?;
    let servers = Servers::of(&system, &app)?;
    let mut measures = Measures::default();
    for workload in options.chosen(WORKLOADS) {
        let mut load = load::connect(&destination, workload.wire, workload.action, workload.connections).await?;
        load.run(WARM_UP).await?;
        let before = servers.cpu_seconds()?;
        let mut result = load.run(span).await?;
        measures.add_load(workload.name, &mut result, servers.cpu_seconds()? - before);
    }
    if options.wants(ADDED.name) {
        let added = added_microseconds(direct, &destination, span).await?;
        measures.add(format!("{}, p50 µs", ADDED.name), added);
    }
    let now = Servers::of(&system, &app)?;
    ensure!(now == servers, "gateway or Dapr Server was replaced meanwhile");
    system.finish().await?;
    Ok(measures)
}

/// A project, an App ID and a component; answers with the App ID and its way in.
async fn prepare(system: &System) -> Result<(App, Destination)> {
    system.cli(&["project", "create", "bench", "--wait"]).await?;
    let create = ["component", "create", "statestore", "-p", "bench"];
    system
        .cli(&[&create[..], &["--type", "state.in-memory", "--wait"]].concat())
        .await?;
    let app = App::create(system, "bench", "bench").await?;
    let host = app.host.as_str();
    let roots = fs::read(system.ca_file())?;
    let address = (Ipv4Addr::LOCALHOST, system.ports.gateway()).into();
    let destination = Destination::gateway(address, host, &roots, &app.token)?;
    Ok((app, destination))
}

/// The processes that a request goes through.
#[derive(PartialEq)]
struct Servers([Process; 2]);

impl Servers {
    fn of(system: &System, app: &App) -> Result<Self> {
        let process = |role: &str| anyhow::Ok(Process { pid: system.pid(role)? });
        Ok(Self([process(GATEWAY)?, process(&app.server())?]))
    }

    fn cpu_seconds(&self) -> Result<f64> {
        process::cpu_seconds(&self.0.each_ref())
    }
}

/// Median through the gateway less median of a Dapr Server that is called directly, by turns.
async fn added_microseconds(direct: &Target, gateway: &Destination, span: Duration) -> Result<f64> {
    let (server, _) = direct.start(&Setup::default()).await.context("the direct one")?;
    let connect = async |to| load::connect(to, ADDED.wire, ADDED.action, ADDED.connections).await;
    let plain = Destination::plain(server.http);
    let mut loads = [connect(gateway).await?, connect(&plain).await?];
    for load in &mut loads {
        load.run(WARM_UP).await?;
    }
    let mut outcomes = [Outcome::default(), Outcome::default()];
    for _ in 0..TURNS {
        for (load, outcome) in loads.iter_mut().zip(&mut outcomes) {
            outcome.append(load.run(span / TURNS).await?);
        }
    }
    server.stop().await?;
    let [through, past] = outcomes.each_mut().map(|outcome| outcome.microseconds(0.5));
    Ok(through - past)
}
