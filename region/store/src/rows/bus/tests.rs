//! Messages on disk: who waits for what, what counts, what goes, and what does not open.

use std::path::Path;

use palladium_proto::store::Message;
use palladium_sealing::{Kek, KekConfig};
use sqlx::Connection as _;

use super::super::{Outcome, Project, StorageError, Work, now_ms, schema as state_schema};
use super::*;

async fn open(folder: &Path) -> Project {
    let kek = Kek::open(&KekConfig::KeyFile {
        path: folder.join("kek"),
    });
    Project::open(&folder.join("prj-a"), "prj-a", Arc::new(kek.unwrap()))
        .await
        .unwrap()
}

fn message(data: &str) -> Message {
    Message {
        data: data.to_owned().into(),
        ..Message::default()
    }
}

struct Bus {
    folder: tempfile::TempDir,
    project: Project,
    limits: Arc<BusLimits>,
}

impl Bus {
    async fn new(limits: BusLimits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Bus {
            project: open(folder.path()).await,
            folder,
            limits: Arc::new(limits),
        }
    }

    async fn submit(&self, work: BusWork) -> Outcome {
        self.project.submit(Work::Bus(work)).await.unwrap()
    }

    async fn publish(&self, component: &str, topic: &str, data: &[&str]) -> Published {
        self.publish_until(component, topic, data, i64::MAX / 4).await
    }

    async fn publish_until(&self, component: &str, topic: &str, data: &[&str], expires_ms: i64) -> Published {
        let sealed = data.iter().map(|data| {
            let id = new_id();
            let sealed = self
                .project
                .seal_message(component, topic, &id, &message(data))
                .unwrap();
            Sealed {
                id,
                sealed,
                part: None,
                expires_ms,
            }
        });
        let work = BusWork::Publish {
            component: component.into(),
            topic: topic.into(),
            messages: sealed.collect(),
            limits: self.limits.clone(),
            permitted: Box::new(|| true),
        };
        match self.submit(work).await {
            Outcome::Published(published) => published,
            other => panic!("{other:?}"),
        }
    }

    async fn try_join(&self, component: &str, topic: &str, app: &str, oldest: bool) -> Outcome {
        self.submit(BusWork::Join {
            component: component.into(),
            topic: topic.into(),
            group: app.into(),
            app: app.into(),
            oldest,
            limits: self.limits.clone(),
            permitted: Box::new(|| true),
        })
        .await
    }

    async fn join(&self, topic: &str, app: &str, oldest: bool) -> i64 {
        match self.try_join("uid", topic, app, oldest).await {
            Outcome::Joined(joined) => joined.group,
            other => panic!("{other:?}"),
        }
    }

    async fn pending(&self, group: i64) -> Vec<Token> {
        let pending = self.project.pending(group, 0, 100).await.unwrap();
        pending.into_iter().map(|entry| entry.token).collect()
    }

    async fn text(&self, topic: &str, token: &Token) -> Option<String> {
        let found = self.project.message("uid", topic, token).await.unwrap();
        found.map(|message| String::from_utf8(message.data.to_vec()).unwrap())
    }

    async fn done(&self, group: i64, tokens: &[Token]) {
        let tokens = tokens.to_vec();
        assert_eq!(self.submit(BusWork::Done { group, tokens }).await, Outcome::Done);
    }

    /// Messages that lie there, and what the sums say of their number and bytes.
    async fn sums(&self) -> (i64, i64, i64) {
        let one = |statement: &'static str| sqlx::query_scalar::<_, i64>(statement).fetch_one(&self.project.readers);
        let there = one("SELECT count(*) FROM messages").await.unwrap();
        let messages = one("SELECT coalesce(sum(messages), 0) FROM topics").await.unwrap();
        let bytes = one("SELECT coalesce(sum(bytes), 0) FROM topics").await.unwrap();
        assert_eq!(one("SELECT bytes FROM bus_total").await.unwrap(), bytes);
        (there, messages, bytes)
    }

    /// A statement on the file, beside the writer.
    async fn sql(&self, statement: &'static str) {
        let file = self.folder.path().join("prj-a/state.db");
        let mut connection = state_schema::writer(&file).await.unwrap();
        sqlx::raw_sql(statement).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_message_goes_when_the_last_group_has_it() {
    let bus = Bus::new(BusLimits::default()).await;
    bus.publish("uid", "t", &["early"]).await;
    let (one, other) = (bus.join("t", "one", true).await, bus.join("t", "other", false).await);
    let published = bus.publish("uid", "t", &["a", "b"]).await;
    assert_eq!((published.taken, published.refused), (2, None));
    let (at_one, at_other) = (bus.pending(one).await, bus.pending(other).await);
    assert_eq!((at_one.len(), at_other.len()), (3, 2), "newest begins with what comes");
    assert_eq!(bus.text("t", &at_one[0]).await.as_deref(), Some("early"));
    assert_eq!(bus.text("t", &at_one[2]).await.as_deref(), Some("b"));
    bus.done(one, &at_one).await;
    assert_eq!(bus.sums().await.0, 2);
    assert_eq!(bus.text("t", &at_one[0]).await, None);
    // Another message's name settles nothing.
    let foreign = Token {
        id: at_other[1].id,
        ..at_other[0]
    };
    bus.done(other, &[foreign]).await;
    assert_eq!(bus.pending(other).await, at_other);
    bus.done(other, &at_other).await;
    assert_eq!(bus.sums().await, (0, 0, 0));
    // Joining again finds the same group and nothing old.
    assert_eq!(bus.join("t", "one", true).await, one);
    assert!(bus.pending(one).await.is_empty());
}

#[tokio::test]
async fn what_is_full_refuses_in_words_and_keeps_the_order() {
    let bus = Bus::new(BusLimits {
        topic_messages: 3,
        topic_bytes: 5000,
        project_bytes: 6000,
        topics: 3,
        groups: 1,
        ..BusLimits::default()
    })
    .await;
    let refused = bus.publish("uid", "t", &["1", "2", "3", "4", "5"]).await;
    assert_eq!(refused.taken, 3);
    let reason = refused.refused.unwrap();
    assert!(reason.contains("the topic is full: it keeps 3 messages"), "{reason}");
    let large = "x".repeat(4000);
    let refused = bus.publish("uid", "u", &[&large, &large, "small"]).await;
    assert_eq!(refused.taken, 1, "nothing passes what was refused");
    let reason = refused.refused.unwrap();
    assert!(reason.contains("the topic is full: it keeps 5000 bytes"), "{reason}");
    let refused = bus.publish("uid", "v", &[&large]).await;
    let reason = refused.refused.unwrap();
    assert!(reason.contains("the project's topics are full"), "{reason}");
    let refused = bus.publish("uid", "w", &["x"]).await;
    let reason = refused.refused.unwrap();
    assert!(reason.contains("3 topics"), "{reason}");
    let group = bus.join("t", "one", true).await;
    let Outcome::Refused(reason) = bus.try_join("uid", "t", "other", true).await else {
        panic!("two groups")
    };
    assert!(reason.contains("consumer groups"), "{reason}");
    // What is handled makes room.
    let pending = bus.pending(group).await;
    bus.done(group, &pending[..1]).await;
    assert_eq!(bus.publish("uid", "t", &["6", "7"]).await.taken, 1);
}

#[tokio::test]
async fn what_has_expired_is_not_there_and_then_gone() {
    let bus = Bus::new(BusLimits::default()).await;
    let group = bus.join("t", "one", true).await;
    bus.publish_until("uid", "t", &["old"], now_ms() - 1).await;
    bus.publish("uid", "t", &["new"]).await;
    let pending = bus.pending(group).await;
    assert_eq!(pending.len(), 1);
    assert_eq!(bus.text("t", &pending[0]).await.as_deref(), Some("new"));
    assert_eq!(bus.sums().await.0, 2);
    let file = bus.folder.path().join("prj-a/state.db");
    let mut connection = state_schema::writer(&file).await.unwrap();
    assert!(!write::sweep(&mut connection, now_ms(), 10).await.unwrap());
    assert_eq!(bus.sums().await.0, 1);
    // A group that nobody has received for in a long time goes with what waits for it; so does the empty topic.
    sqlx::raw_sql("UPDATE groups SET seen_ms = 0")
        .execute(&mut connection)
        .await
        .unwrap();
    write::sweep(&mut connection, now_ms(), 10).await.unwrap();
    assert_eq!(bus.sums().await, (0, 0, 0));
    assert!(bus.project.is_empty().await.unwrap());
}

#[tokio::test]
async fn components_and_app_ids_take_their_own_along() {
    let bus = Bus::new(BusLimits::default()).await;
    let (one, other) = (bus.join("t", "one", true).await, bus.join("t", "other", true).await);
    bus.publish("uid", "t", &["a"]).await;
    bus.publish("uid-2", "t", &["b"]).await;
    bus.submit(BusWork::Leave { app: "one".into() }).await;
    assert!(bus.pending(one).await.is_empty());
    assert_eq!(bus.pending(other).await.len(), 1);
    let again = bus.join("t", "one", false).await;
    assert_ne!(again, one, "a new App ID of that name has a new group");
    bus.project.submit(Work::DeleteComponent("uid".into())).await.unwrap();
    assert_eq!(bus.sums().await.0, 1);
    assert!(bus.pending(other).await.is_empty());
    assert!(!bus.project.is_empty().await.unwrap());
    bus.project.submit(Work::DeleteComponent("uid-2".into())).await.unwrap();
    assert_eq!(bus.sums().await, (0, 0, 0));
    assert!(bus.project.is_empty().await.unwrap());
}

/// A message that is put into another topic, or under another name, does not open there.
#[tokio::test]
async fn sec_104_a_message_that_is_moved_does_not_open() {
    let bus = Bus::new(BusLimits::default()).await;
    let group = bus.join("t", "one", true).await;
    bus.publish("uid", "t", &["a"]).await;
    let token = bus.pending(group).await[0];
    assert_eq!(bus.text("u", &token).await, None);
    assert!(bus.project.message("uid-2", "t", &token).await.unwrap().is_none());
    bus.sql("UPDATE messages SET id = zeroblob(16)").await;
    let moved = Token { id: [0; ID], ..token };
    assert_eq!(bus.text("t", &moved).await, None);
}

#[tokio::test]
async fn a_file_without_messages_gets_their_tables() {
    let folder = tempfile::tempdir().unwrap();
    let project = open(folder.path()).await;
    project.close().await;
    let file = folder.path().join("prj-a/state.db");
    let mut connection = state_schema::writer(&file).await.unwrap();
    let before = "DROP TABLE topics; DROP TABLE groups; DROP TABLE members; DROP TABLE messages; DROP TABLE pending;
        DROP TABLE bus_total; PRAGMA user_version = 1;";
    sqlx::raw_sql(before).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    let bus = Bus {
        project: open(folder.path()).await,
        folder,
        limits: Arc::default(),
    };
    bus.publish("uid", "t", &["a"]).await;
    assert_eq!(bus.sums().await.0, 1);
}

#[test]
fn a_token_is_whole_or_none() {
    let token = Token { seq: 7, id: [3; ID] };
    assert_eq!(Token::from_bytes(&token.to_bytes()), Some(token));
    for wrong in [&[][..], &[0; 8], &[0; 23], &[0; 25]] {
        assert_eq!(Token::from_bytes(wrong), None);
    }
    assert_eq!(part(""), None);
    assert_eq!(part("a"), part("a"));
    assert_ne!(part("a"), part("b"));
}

/// A revoked permission is asked for again right before writing.
#[tokio::test]
async fn nothing_is_written_without_permission() {
    let bus = Bus::new(BusLimits::default()).await;
    let work = BusWork::Publish {
        component: "uid".into(),
        topic: "t".into(),
        messages: Vec::new(),
        limits: bus.limits.clone(),
        permitted: Box::new(|| false),
    };
    assert_eq!(bus.submit(work).await, Outcome::NotPermitted);
    assert!(bus.project.is_empty().await.unwrap());
    bus.project.close().await;
    let seen = bus.project.submit(Work::Bus(BusWork::Seen { group: 1 })).await;
    assert!(matches!(seen, Err(StorageError::Closed)));
}
