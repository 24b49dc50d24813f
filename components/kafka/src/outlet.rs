//! Publishing: a record is published when the cluster says that it has it.
//!
//! One idea: the library numbers what it sends, so that what it repeats by itself is in the log once and in order; what it gave
//! up on may be there all the same, and who sent it decides about that. Must never answer before the cluster has.

use std::time::Duration;

use krafka::admin::{AdminClient, DescribeClusterOptions};
use krafka::producer::{Acks, DeliveryHandle, Producer};
use krafka::{CloseOptions, Kafka, Record};

use crate::partitioner::ByHash;
use crate::{ANSWER, Fault, Reach, Writing};

/// How long a record may be on its way; with what it may wait before, callers have their answer within half a minute.
const DELIVERY: Duration = Duration::from_secs(18);
/// How long it may wait to be on its way: until its topic is known and there is memory for it.
const ROOM: Duration = Duration::from_secs(8);
/// How long what is on its way may take when this is closed.
const GOODBYE: Duration = Duration::from_secs(2);
/// Bytes of records that are on their way, unless a single one may be larger.
const BYTES: usize = 32 << 20;
/// What a record takes beside itself.
const BESIDE: usize = 4096;

/// A way out.
pub struct Outlet {
    producer: Producer,
    admin: AdminClient,
    largest: usize,
}

impl std::fmt::Debug for Outlet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Outlet")
    }
}

impl Outlet {
    /// Connects.
    ///
    /// # Errors
    /// When no broker answers, or none takes the credentials.
    pub async fn open(reach: &Reach, writing: &Writing) -> Result<Self, Fault> {
        let kafka: Kafka = reach.connect().await?;
        let producer = kafka
            .producer()
            .acks(writing.acks)
            .idempotent(writing.acks == Acks::All)
            .compression(writing.compression)
            // Somebody waits for each record.
            .linger(Duration::ZERO)
            .delivery_timeout(DELIVERY)
            .max_block(ROOM)
            .max_request_size(writing.largest.saturating_add(1 << 20).max(16 << 20))
            .buffer_memory(BYTES.max(writing.largest.saturating_add(BESIDE)))
            .partitioner(ByHash)
            .metrics_push(false)
            .build()
            .await?;
        Ok(Outlet {
            producer,
            admin: kafka.admin().metrics_push(false),
            largest: writing.largest,
        })
    }

    /// Publishes one record.
    ///
    /// # Errors
    /// When the cluster does not have it, or may not have it.
    pub async fn send(&self, record: Record) -> Result<(), Fault> {
        // Where it lies in the log is of no interest.
        let _ = self.enqueue(record).await?.await?;
        Ok(())
    }

    /// Publishes many, in order; says of each how it went.
    pub async fn send_all(&self, records: Vec<Record>) -> Vec<Result<(), Fault>> {
        let mut under_way = Vec::with_capacity(records.len());
        let mut first = FirstLoss::default();
        for record in records {
            under_way.push(first.unless_lost(self.enqueue(record)).await);
        }
        let mut ends = Vec::with_capacity(under_way.len());
        for one in under_way {
            ends.push(match one {
                Ok(handle) => handle.await.map(drop).map_err(Fault::from),
                Err(fault) => Err(fault),
            });
        }
        ends
    }

    async fn enqueue(&self, record: Record) -> Result<DeliveryHandle, Fault> {
        let size = record.estimated_size();
        if size > self.largest.saturating_add(BESIDE) {
            let most = self.largest;
            return Err(Fault::Invalid(format!(
                "the message has {size} bytes and may have {most}: raise maxMessageBytes, or publish smaller ones"
            )));
        }
        Ok(self.producer.enqueue(record).await?)
    }

    /// Whether a broker answers.
    ///
    /// # Errors
    /// When none does.
    pub async fn ping(&self) -> Result<(), Fault> {
        let asking = self
            .admin
            .describe_cluster(DescribeClusterOptions::default().timeout(ANSWER));
        asking.await?;
        Ok(())
    }

    /// Ends it; what is on its way may arrive.
    pub async fn close(&self) {
        if let Err(error) = self.producer.close_with(CloseOptions::new().timeout(GOODBYE)).await {
            tracing::debug!(%error, "closed with messages on their way");
        }
    }
}

/// What went wrong first among many: when one has waited for a topic or for memory and had neither, the others need not wait as
/// long, one after the other.
#[derive(Default)]
struct FirstLoss(Option<Fault>);

impl FirstLoss {
    async fn unless_lost<T>(&mut self, work: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
        if let Some(fault) = &self.0 {
            return Err(fault.clone());
        }
        let done = work.await;
        if let Err(Fault::Lost(words)) = &done {
            self.0 = Some(Fault::Lost(words.clone()));
        }
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn many_wait_once_for_what_is_not_there() {
        let mut first = FirstLoss::default();
        // What is wrong with one says nothing of the others.
        let large = first.unless_lost(async { Err::<(), _>(Fault::Invalid("large".into())) });
        assert!(matches!(large.await, Err(Fault::Invalid(_))));
        assert!(first.unless_lost(async { Ok(()) }).await.is_ok());
        let lost = first.unless_lost(async { Err::<(), _>(Fault::Lost("no topic".into())) });
        assert!(matches!(lost.await, Err(Fault::Lost(_))));
        // The next one is not even tried.
        let next = first.unless_lost(async { Ok(()) });
        assert!(matches!(next.await, Err(Fault::Lost(words)) if words == "no topic"));
    }
}
