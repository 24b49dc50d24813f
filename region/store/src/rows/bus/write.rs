//! What the writer does with messages, inside of the transaction that is open.
//!
//! One idea: bounds are asked of the rows themselves, in the transaction that would go beyond them. Must never take a
//! message after one that was refused: the order of what is there is that of the publisher.

use sqlx::Row as _;
use sqlx::sqlite::SqliteConnection;

use super::super::job::{Outcome, StorageError};
use super::{BusLimits, BusWork, Joined, Published, Sealed, Token, schema};

/// How long a group is kept that nobody receives for.
const UNUSED_MS: i64 = 7 * 24 * 3600 * 1000;
/// Names may be long, not endless.
pub(crate) const LONGEST_NAME: usize = 1024;

pub(in crate::rows) async fn work(
    connection: &mut SqliteConnection,
    work: &BusWork,
    now: i64,
) -> Result<Outcome, StorageError> {
    match work {
        BusWork::Publish { permitted, .. } | BusWork::Join { permitted, .. } if !permitted() => {
            Ok(Outcome::NotPermitted)
        }
        BusWork::Publish {
            component,
            topic,
            messages,
            limits,
            ..
        } => publish(connection, component, topic, messages, limits).await,
        BusWork::Join {
            component,
            topic,
            group,
            app,
            oldest,
            limits,
            ..
        } => {
            let topic = match the_topic(connection, component, topic, limits).await? {
                Ok(topic) => topic.id,
                Err(refused) => return Ok(Outcome::Refused(refused)),
            };
            join(connection, topic, group, app, *oldest, limits, now).await
        }
        BusWork::Done { group, tokens } => {
            for Token { seq, id } in tokens {
                let done = sqlx::query(schema::DONE).bind(group).bind(seq).bind(&id[..]);
                done.execute(&mut *connection).await?;
            }
            Ok(Outcome::Done)
        }
        BusWork::Seen { group } => {
            let seen = sqlx::query(schema::SEEN).bind(group).bind(now);
            seen.execute(connection).await?;
            Ok(Outcome::Done)
        }
        BusWork::Leave { app } => {
            sqlx::query(schema::LEAVE).bind(app).execute(&mut *connection).await?;
            sqlx::query(schema::DELETE_DESERTED).execute(connection).await?;
            Ok(Outcome::Done)
        }
    }
}

/// A topic and what it keeps.
struct Topic {
    id: i64,
    messages: u64,
    bytes: u64,
}

/// The topic, made when it is new and there is room for one more.
async fn the_topic(
    connection: &mut SqliteConnection,
    component: &str,
    name: &str,
    limits: &BusLimits,
) -> Result<Result<Topic, String>, StorageError> {
    let found = sqlx::query(schema::TOPIC).bind(component).bind(name);
    if let Some(row) = found.fetch_optional(&mut *connection).await? {
        let count = |at: usize| row.try_get::<i64, _>(at).map(|count| u64::try_from(count).unwrap_or(0));
        return Ok(Ok(Topic {
            id: row.try_get(0)?,
            messages: count(1)?,
            bytes: count(2)?,
        }));
    }
    let topics: i64 = sqlx::query_scalar(schema::COUNT_TOPICS)
        .fetch_one(&mut *connection)
        .await?;
    if u64::try_from(topics).unwrap_or(0) >= limits.topics {
        return Ok(Err(format!(
            "the project has its {} topics of managed publish/subscribe: use one of them, or delete subscriptions that are \
             needed no more",
            limits.topics
        )));
    }
    let made = sqlx::query(schema::MAKE_TOPIC).bind(component).bind(name);
    let id = made.execute(connection).await?.last_insert_rowid();
    Ok(Ok(Topic {
        id,
        messages: 0,
        bytes: 0,
    }))
}

async fn publish(
    connection: &mut SqliteConnection,
    component: &str,
    name: &str,
    messages: &[Sealed],
    limits: &BusLimits,
) -> Result<Outcome, StorageError> {
    let nothing = |refused| Published {
        topic: None,
        taken: 0,
        refused,
    };
    let mut topic = match the_topic(connection, component, name, limits).await? {
        Ok(topic) => topic,
        Err(refused) => return Ok(Outcome::Published(nothing(Some(refused)))),
    };
    let total: i64 = sqlx::query_scalar(schema::TOTAL).fetch_one(&mut *connection).await?;
    let mut total = u64::try_from(total).unwrap_or(0);
    let (mut taken, mut refused) = (0, None);
    for message in messages {
        let size = message.size() as u64;
        if let Some(reason) = full(&topic, total, size, limits) {
            refused = Some(reason);
            break;
        }
        let put = sqlx::query(schema::PUBLISH)
            .bind(topic.id)
            .bind(&message.id[..])
            .bind(&message.sealed)
            .bind(message.part)
            .bind(i64::try_from(size).unwrap_or(i64::MAX))
            .bind(message.expires_ms);
        let seq = put.execute(&mut *connection).await?.last_insert_rowid();
        let for_all = sqlx::query(schema::FOR_EVERY_GROUP).bind(topic.id).bind(seq);
        for_all.execute(&mut *connection).await?;
        (topic.messages, topic.bytes, total) = (topic.messages + 1, topic.bytes + size, total + size);
        taken += 1;
    }
    Ok(Outcome::Published(Published {
        topic: (taken > 0).then_some(topic.id),
        taken,
        refused,
    }))
}

/// Why there is no room for one more message.
fn full(topic: &Topic, total: u64, size: u64, limits: &BusLimits) -> Option<String> {
    let what = if topic.messages >= limits.topic_messages {
        format!("the topic is full: it keeps {} messages", limits.topic_messages)
    } else if topic.bytes.saturating_add(size) > limits.topic_bytes {
        format!("the topic is full: it keeps {} bytes", limits.topic_bytes)
    } else if total.saturating_add(size) > limits.project_bytes {
        format!(
            "the project's topics are full: they keep {} bytes",
            limits.project_bytes
        )
    } else {
        return None;
    };
    Some(format!(
        "{what} until every subscriber has handled them or they expire; receive them, or publish with ttlInSeconds"
    ))
}

async fn join(
    connection: &mut SqliteConnection,
    topic: i64,
    name: &str,
    app: &str,
    oldest: bool,
    limits: &BusLimits,
    now: i64,
) -> Result<Outcome, StorageError> {
    let found: Option<i64> = sqlx::query_scalar(schema::GROUP)
        .bind(topic)
        .bind(name)
        .fetch_optional(&mut *connection)
        .await?;
    let group = match found {
        Some(group) => {
            let seen = sqlx::query(schema::SEEN).bind(group).bind(now);
            seen.execute(&mut *connection).await?;
            group
        }
        None => {
            let groups: i64 = sqlx::query_scalar(schema::COUNT_GROUPS)
                .bind(topic)
                .fetch_one(&mut *connection)
                .await?;
            if u64::try_from(groups).unwrap_or(0) >= limits.groups {
                return Ok(Outcome::Refused(format!(
                    "the topic has its {} consumer groups: let App IDs share one by consumerID",
                    limits.groups
                )));
            }
            let made = sqlx::query(schema::MAKE_GROUP).bind(topic).bind(name).bind(now);
            let group = made.execute(&mut *connection).await?.last_insert_rowid();
            if oldest {
                let kept = sqlx::query(schema::FROM_THE_OLDEST).bind(group).bind(topic);
                kept.execute(&mut *connection).await?;
            }
            group
        }
    };
    let member = sqlx::query(schema::JOIN).bind(group).bind(app);
    member.execute(connection).await?;
    Ok(Outcome::Joined(Joined { topic, group }))
}

/// Everything of a component.
pub(in crate::rows) async fn delete_component(
    connection: &mut SqliteConnection,
    component: &str,
) -> Result<(), StorageError> {
    let gone = sqlx::query(schema::DELETE_COMPONENT).bind(component);
    gone.execute(connection).await?;
    Ok(())
}

/// Removes at most `most` messages that have expired, and what is no longer used; answers whether there may be more.
pub(in crate::rows) async fn sweep(
    connection: &mut SqliteConnection,
    now: i64,
    most: u64,
) -> Result<bool, StorageError> {
    let bound = i64::try_from(most).unwrap_or(i64::MAX);
    let expired = sqlx::query(schema::DELETE_EXPIRED).bind(now).bind(bound);
    let expired = expired.execute(&mut *connection).await?.rows_affected();
    let unused = sqlx::query(schema::DELETE_UNUSED).bind(now.saturating_sub(UNUSED_MS));
    unused.execute(&mut *connection).await?;
    sqlx::query(schema::DELETE_EMPTY).execute(connection).await?;
    Ok(expired >= most)
}
