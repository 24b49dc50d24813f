//! Wakes whoever keeps something equal to what it should be.
//!
//! One idea: a ring is never lost and never counted: who was rung for twice looks once. Must never say what has changed.

use tokio::sync::Notify;

/// Rung by many, heard by one.
#[derive(Default)]
pub struct Bell(Notify);

impl Bell {
    /// Tells the keeper to look again.
    pub fn ring(&self) {
        self.0.notify_one();
    }

    /// Returns when somebody rings, also if that was before.
    pub(crate) async fn rung(&self) {
        self.0.notified().await;
    }
}
