//! Sending: a message is sent when the server says that it has it.
//!
//! One idea: one channel in confirm mode for all messages, made again when it was lost; what is needed on the server before
//! (an exchange, a queue) is declared once for each connection, on a channel of its own, because a declaration that is refused
//! ends its channel. Must never repeat a message that may have reached the server: who sent it decides that.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::ShortString;
use lapin::{BasicProperties, Channel};
use tokio::time::timeout;

use crate::fault::was_not_sent;
use crate::link::{ANSWER, close};
use crate::{Fault, Link};

/// Names that are remembered as declared.
const MOST_NAMES: usize = 10_000;
/// How often a message is tried that was not sent at all.
const TRIES: u32 = 3;

/// A way out.
#[derive(Debug)]
pub struct Outlet {
    link: Arc<Link>,
    confirm: bool,
    channel: tokio::sync::Mutex<Option<Channel>>,
    declared: Mutex<Declared>,
}

/// What was declared on which connection.
#[derive(Debug, Default)]
struct Declared {
    connection: u64,
    names: HashSet<String>,
}

impl Outlet {
    /// One over a link. `confirm`: whether to wait for the server's word that it has a message.
    pub fn new(link: Arc<Link>, confirm: bool) -> Self {
        Outlet {
            link,
            confirm,
            channel: tokio::sync::Mutex::default(),
            declared: Mutex::default(),
        }
    }

    /// A panic under this lock leaves a set that is still whole.
    fn declared(&self) -> MutexGuard<'_, Declared> {
        self.declared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has `declare` done what `name` needs on the server, unless it was done on this connection.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses.
    pub async fn once(
        &self,
        name: &str,
        declare: impl AsyncFnOnce(&Channel) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        // The channel is asked for first, because only then it is known whether the connection still holds.
        let sending = self.channel().await?;
        if sending.status().connected() && self.declared().names.contains(name) {
            return Ok(());
        }
        let (channel, connection) = self.link.channel_in_time().await?;
        let done = timeout(ANSWER, declare(&channel)).await;
        close(&channel).await;
        done.unwrap_or_else(|_| Err(Fault::late("declaring", ANSWER)))?;
        let mut declared = self.declared();
        if declared.connection != connection || declared.names.len() >= MOST_NAMES {
            declared.names.clear();
        }
        declared.connection = connection;
        declared.names.insert(name.to_owned());
        Ok(())
    }

    /// Has `name` declared again before the next message.
    pub fn forget(&self, name: &str) {
        self.declared().names.remove(name);
    }

    async fn channel(&self) -> Result<Channel, Fault> {
        let mut channel = self.channel.lock().await;
        if let Some(channel) = channel.as_ref().filter(|channel| channel.status().connected()) {
            return Ok(channel.clone());
        }
        *channel = None;
        let (made, connection) = self.link.channel_in_time().await?;
        if self.confirm {
            let selected = timeout(ANSWER, made.confirm_select(ConfirmSelectOptions::default())).await;
            selected.map_err(|_| Fault::late("confirm mode", ANSWER))??;
        }
        let mut declared = self.declared();
        if declared.connection != connection {
            declared.names.clear();
            declared.connection = connection;
        }
        *channel = Some(made.clone());
        Ok(made)
    }

    /// Sends one message.
    ///
    /// # Errors
    /// When the server does not have it, or may not have it.
    pub async fn send(
        &self,
        exchange: &ShortString,
        key: &ShortString,
        data: &[u8],
        properties: &BasicProperties,
    ) -> Result<(), Fault> {
        let mut tries = 1;
        let confirm = loop {
            let channel = self.channel().await?;
            let sending = channel.basic_publish(
                exchange.clone(),
                key.clone(),
                BasicPublishOptions::default(),
                data,
                properties.clone(),
            );
            match timeout(ANSWER, sending).await {
                Ok(Ok(confirm)) => break confirm,
                Ok(Err(error)) if was_not_sent(&error) && tries < TRIES => tries += 1,
                Ok(Err(error)) => return Err(error.into()),
                Err(_) => return Err(Fault::late("sending", ANSWER)),
            }
        };
        match timeout(ANSWER, confirm).await {
            Ok(Ok(confirmation)) if confirmation.is_nack() => {
                Err(Fault::Lost("the server could not take the message".into()))
            }
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => {
                // A channel that owes an answer for so long is of no use to others either.
                self.channel.lock().await.take();
                Err(Fault::late("the server's word about a message", ANSWER))
            }
        }
    }
}
