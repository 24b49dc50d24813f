//! A [`RegionStore`] in memory, for tests here and of the whole stream. Never part of a product build.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use palladium_proto::region::{ObjectStatus, SealedConfirmation};
use tokio::sync::watch;

use crate::{
    Change, DesiredObject, JoinTokenRecord, LogRow, Position, RegionConnection, RegionRecord, RegionStore, StoreError,
};

#[derive(Default)]
/// Everything that was stored, open to tests.
pub struct State {
    /// By id, with whether it is used.
    pub tokens: HashMap<String, (JoinTokenRecord, bool)>,
    /// By id.
    pub regions: BTreeMap<String, RegionRecord>,
    /// What sessions said, oldest first.
    pub connections: HashMap<String, Vec<RegionConnection>>,
    /// The change feed.
    pub feed: Vec<DesiredObject>,
    /// Ends of logs.
    pub positions: HashMap<String, Position>,
    /// Kept log rows.
    pub rows: HashMap<String, Vec<LogRow>>,
    /// In the order of their arrival.
    pub reports: Vec<ObjectStatus>,
    /// In the order of their arrival.
    pub confirmations: Vec<SealedConfirmation>,
}

/// The store.
pub struct Memory {
    state: Mutex<State>,
    changed: watch::Sender<u64>,
}

impl Memory {
    /// With these regions, none of which has joined.
    pub fn new(regions: &[&str]) -> Self {
        let record = |id: &&str| {
            (
                (*id).to_owned(),
                RegionRecord {
                    region_id: (*id).to_owned(),
                    ..RegionRecord::default()
                },
            )
        };
        let state = State {
            regions: regions.iter().map(record).collect(),
            ..State::default()
        };
        Self {
            state: Mutex::new(state),
            changed: watch::Sender::new(0),
        }
    }

    /// What is stored.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A committed change.
    pub fn change(&self, object: DesiredObject) {
        self.state().feed.push(object);
        self.changed.send_modify(|count| *count += 1);
    }

    fn newest(&self) -> Vec<DesiredObject> {
        let mut newest: Vec<DesiredObject> = Vec::new();
        for object in &self.state().feed {
            newest.retain(|known| known.uid != object.uid);
            newest.push(object.clone());
        }
        newest
    }
}

#[tonic::async_trait]
impl RegionStore for Memory {
    async fn put_join_token(&self, token: JoinTokenRecord) -> Result<(), StoreError> {
        self.state().tokens.insert(token.id.clone(), (token, false));
        Ok(())
    }

    async fn join_token(&self, id: &str) -> Result<Option<JoinTokenRecord>, StoreError> {
        Ok(self
            .state()
            .tokens
            .get(id)
            .filter(|(_, used)| !used)
            .map(|(token, _)| token.clone()))
    }

    async fn redeem(&self, token_id: &str, region: RegionRecord) -> Result<bool, StoreError> {
        let mut state = self.state();
        match state.tokens.get_mut(token_id) {
            Some((_, used @ false)) => *used = true,
            _ => return Ok(false),
        }
        state.regions.insert(region.region_id.clone(), region);
        Ok(true)
    }

    async fn region(&self, region_id: &str) -> Result<Option<RegionRecord>, StoreError> {
        Ok(self.state().regions.get(region_id).cloned())
    }

    async fn region_ids(&self) -> Result<Vec<String>, StoreError> {
        Ok(self.state().regions.keys().cloned().collect())
    }

    async fn connection(&self, region_id: &str, connection: RegionConnection) -> Result<(), StoreError> {
        self.state()
            .connections
            .entry(region_id.to_owned())
            .or_default()
            .push(connection);
        Ok(())
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    async fn changes_after(&self, _: &str, cursor: u64, limit: u32) -> Result<Vec<Change>, StoreError> {
        let newest = self.newest();
        let state = self.state();
        let changes = state
            .feed
            .iter()
            .enumerate()
            .skip(usize::try_from(cursor).unwrap_or(usize::MAX))
            .take(limit as usize);
        let change = |(index, object): (usize, &DesiredObject)| Change {
            cursor: index as u64 + 1,
            object: newest.iter().find(|newest| newest.uid == object.uid).cloned(),
        };
        Ok(changes.map(change).collect())
    }

    async fn objects(&self, _: &str) -> Result<(u64, Vec<DesiredObject>), StoreError> {
        let count = self.state().feed.len() as u64;
        Ok((count, self.newest()))
    }

    async fn position(&self, region_id: &str) -> Result<Position, StoreError> {
        Ok(self.state().positions.get(region_id).cloned().unwrap_or_default())
    }

    async fn append(
        &self,
        region_id: &str,
        from: &Position,
        rows: Vec<LogRow>,
        to: &Position,
    ) -> Result<(), StoreError> {
        let mut state = self.state();
        if state.positions.get(region_id).cloned().unwrap_or_default() != *from {
            return Err(StoreError("the log has moved".into()));
        }
        state.positions.insert(region_id.to_owned(), to.clone());
        state.rows.entry(region_id.to_owned()).or_default().extend(rows);
        Ok(())
    }

    async fn rows_after(&self, region_id: &str, epoch: u64, seq: u64, limit: u32) -> Result<Vec<LogRow>, StoreError> {
        let state = self.state();
        let rows = state.rows.get(region_id).into_iter().flatten();
        Ok(rows
            .filter(|row| row.epoch == epoch && row.seq > seq)
            .take(limit as usize)
            .cloned()
            .collect())
    }

    async fn trim(&self, region_id: &str, epoch: u64, seq: u64) -> Result<(), StoreError> {
        let mut state = self.state();
        state
            .rows
            .entry(region_id.to_owned())
            .or_default()
            .retain(|row| row.epoch > epoch || row.epoch == epoch && row.seq > seq);
        Ok(())
    }

    async fn report(&self, _: &str, status: ObjectStatus) -> Result<(), StoreError> {
        self.state().reports.push(status);
        Ok(())
    }

    async fn confirm_sealed(&self, _: &str, confirmation: SealedConfirmation) -> Result<(), StoreError> {
        self.state().confirmations.push(confirmation);
        Ok(())
    }
}
