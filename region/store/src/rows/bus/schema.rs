//! The tables of messages and every statement on them.
//!
//! One idea: a message lies once; `pending` says for which groups it still has to be delivered. Triggers keep what follows
//! from that true whatever deletes a row: a message that no group waits for is gone, and sums are sums. Numbers are never
//! used twice (AUTOINCREMENT): a group in memory cannot meet another one of its number. Must never store a message or a
//! partition key in clear.

/// `part`: a hash of the partition key. `size`: what counts against bounds.
pub(in crate::rows) const CREATE: &str = "
CREATE TABLE IF NOT EXISTS topics (
  id INTEGER PRIMARY KEY AUTOINCREMENT, component TEXT NOT NULL, name TEXT NOT NULL,
  messages INTEGER NOT NULL DEFAULT 0, bytes INTEGER NOT NULL DEFAULT 0, UNIQUE (component, name)
) STRICT;
CREATE TABLE IF NOT EXISTS groups (
  id INTEGER PRIMARY KEY AUTOINCREMENT, topic INTEGER NOT NULL, name TEXT NOT NULL, seen_ms INTEGER NOT NULL,
  UNIQUE (topic, name)
) STRICT;
CREATE TABLE IF NOT EXISTS members (
  grp INTEGER NOT NULL, app TEXT NOT NULL, PRIMARY KEY (grp, app)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS messages (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, topic INTEGER NOT NULL, id BLOB NOT NULL, sealed BLOB NOT NULL,
  part INTEGER, size INTEGER NOT NULL, expires_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS messages_by_topic ON messages (topic, seq);
CREATE INDEX IF NOT EXISTS messages_by_expiry ON messages (expires_ms);
CREATE TABLE IF NOT EXISTS pending (
  grp INTEGER NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (grp, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS pending_by_message ON pending (seq);
CREATE TABLE IF NOT EXISTS bus_total (one INTEGER PRIMARY KEY CHECK (one = 1), bytes INTEGER NOT NULL) STRICT;
INSERT OR IGNORE INTO bus_total VALUES (1, 0);
CREATE TRIGGER IF NOT EXISTS message_came AFTER INSERT ON messages BEGIN
  UPDATE topics SET messages = messages + 1, bytes = bytes + NEW.size WHERE id = NEW.topic;
  UPDATE bus_total SET bytes = bytes + NEW.size;
END;
CREATE TRIGGER IF NOT EXISTS message_went AFTER DELETE ON messages BEGIN
  UPDATE topics SET messages = messages - 1, bytes = bytes - OLD.size WHERE id = OLD.topic;
  UPDATE bus_total SET bytes = bytes - OLD.size;
  DELETE FROM pending WHERE seq = OLD.seq;
END;
CREATE TRIGGER IF NOT EXISTS delivery_went AFTER DELETE ON pending BEGIN
  DELETE FROM messages WHERE seq = OLD.seq AND NOT EXISTS (SELECT 1 FROM pending WHERE seq = OLD.seq);
END;
CREATE TRIGGER IF NOT EXISTS group_went AFTER DELETE ON groups BEGIN
  DELETE FROM members WHERE grp = OLD.id;
  DELETE FROM pending WHERE grp = OLD.id;
END;
CREATE TRIGGER IF NOT EXISTS topic_went AFTER DELETE ON topics BEGIN
  DELETE FROM groups WHERE topic = OLD.id;
  DELETE FROM messages WHERE topic = OLD.id;
END;";

// ?1 component, ?2 name
pub(super) const TOPIC: &str = "SELECT id, messages, bytes FROM topics WHERE component = ?1 AND name = ?2";
pub(super) const MAKE_TOPIC: &str = "INSERT INTO topics (component, name) VALUES (?1, ?2)";
pub(super) const COUNT_TOPICS: &str = "SELECT count(*) FROM topics";
pub(super) const TOTAL: &str = "SELECT bytes FROM bus_total";
// ?1 topic, ?2 id, ?3 sealed, ?4 part, ?5 size, ?6 expires_ms
pub(super) const PUBLISH: &str =
    "INSERT INTO messages (topic, id, sealed, part, size, expires_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
// ?1 topic, ?2 seq
pub(super) const FOR_EVERY_GROUP: &str = "INSERT INTO pending (grp, seq) SELECT id, ?2 FROM groups WHERE topic = ?1";

// ?1 topic, ?2 name
pub(super) const GROUP: &str = "SELECT id FROM groups WHERE topic = ?1 AND name = ?2";
pub(super) const COUNT_GROUPS: &str = "SELECT count(*) FROM groups WHERE topic = ?1";
// ?1 topic, ?2 name, ?3 now
pub(super) const MAKE_GROUP: &str = "INSERT INTO groups (topic, name, seen_ms) VALUES (?1, ?2, ?3)";
// ?1 group, ?2 topic
pub(super) const FROM_THE_OLDEST: &str =
    "INSERT OR IGNORE INTO pending (grp, seq) SELECT ?1, seq FROM messages WHERE topic = ?2";
// ?1 group, ?2 app
pub(super) const JOIN: &str = "INSERT OR IGNORE INTO members (grp, app) VALUES (?1, ?2)";
// ?1 group, ?2 now
pub(super) const SEEN: &str = "UPDATE groups SET seen_ms = ?2 WHERE id = ?1";

/// ?1 group, ?2 seq, ?3 id. The id decides: a number of another time (a restored file) settles nothing.
pub(super) const DONE: &str = "DELETE FROM pending WHERE grp = ?1 AND seq = ?2 \
    AND EXISTS (SELECT 1 FROM messages WHERE seq = ?2 AND id = ?3)";

// ?1 component
pub(super) const DELETE_COMPONENT: &str = "DELETE FROM topics WHERE component = ?1";
// ?1 app
pub(super) const LEAVE: &str = "DELETE FROM members WHERE app = ?1";
pub(super) const DELETE_DESERTED: &str =
    "DELETE FROM groups WHERE NOT EXISTS (SELECT 1 FROM members WHERE grp = groups.id)";
// ?1 seen before
pub(super) const DELETE_UNUSED: &str = "DELETE FROM groups WHERE seen_ms < ?1";
// ?1 now, ?2 most
pub(super) const DELETE_EXPIRED: &str =
    "DELETE FROM messages WHERE seq IN (SELECT seq FROM messages WHERE expires_ms <= ?1 ORDER BY expires_ms LIMIT ?2)";
/// Topics that nobody publishes to or receives from any more make room for others.
pub(super) const DELETE_EMPTY: &str =
    "DELETE FROM topics WHERE messages = 0 AND NOT EXISTS (SELECT 1 FROM groups WHERE topic = topics.id)";

/// ?1 group, ?2 after this number, ?3 now, ?4 most.
pub(super) const PAGE: &str = "SELECT m.seq, m.id, m.part, m.size, m.expires_ms FROM pending p JOIN messages m ON m.seq = p.seq \
    WHERE p.grp = ?1 AND p.seq > ?2 AND m.expires_ms > ?3 ORDER BY p.seq LIMIT ?4";
/// ?1 seq, ?2 id, ?3 now.
pub(super) const SEALED: &str = "SELECT sealed FROM messages WHERE seq = ?1 AND id = ?2 AND expires_ms > ?3";
pub(in crate::rows) const ANY: &str = "SELECT EXISTS (SELECT 1 FROM topics)";
