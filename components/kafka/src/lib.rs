//! The way to a Kafka cluster, for the drivers of all building blocks.
//!
//! One idea: an [`Outlet`] publishes and knows when the cluster has a record; an [`Intake`] is one member of a consumer group,
//! works each partition in order, one record at a time, and commits no further than what was settled. What a topic is for, and
//! what an application is told, is a driver's affair. Must never commit past a record that nobody said anything about.
//!
//! The library opens its connections itself and takes no streams of ours: it calls the brokers that the component names, and
//! then those that these brokers advertise, wherever they say they are.

mod again;
mod fault;
mod headers;
mod intake;
mod lane;
mod lanes;
mod metadata;
mod news;
mod outlet;
mod partitioner;
mod reach;
mod receive;
mod routes;
mod settings;

pub use fault::Fault;
pub use headers::{Headers, data, refuse_schemas};
pub use intake::{Ending, Intake, Taker};
pub use krafka::ConsumerRecord;
pub use metadata::KafkaMetadata;
pub use outlet::Outlet;
pub use reach::Reach;
pub use settings::{Reading, Settings, Writing};

use std::time::Duration;

/// How long one request may wait for its answer.
pub(crate) const ANSWER: Duration = Duration::from_secs(15);
