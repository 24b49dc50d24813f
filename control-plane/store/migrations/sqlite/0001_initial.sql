-- The first schema. org_id is part of every key, so that a second organization never needs a migration of keys.
-- Times are milliseconds since 1970. JSON is text. '' stands for "none" in key columns, because NULLs are not unique.

-- One row. Every change takes the next number in its own transaction: numbers are ordered by commit, which sequences are not.
CREATE TABLE counter (
    id               INTEGER PRIMARY KEY CHECK (id = 1),
    resource_version INTEGER NOT NULL
) STRICT;
INSERT INTO counter (id, resource_version) VALUES (1, 0);

CREATE TABLE organizations (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE resources (
    org_id           TEXT NOT NULL REFERENCES organizations (id),
    kind             TEXT NOT NULL,
    project_id       TEXT NOT NULL,            -- the project that it is in; '' for objects of the organization
    name             TEXT NOT NULL,
    uid              TEXT NOT NULL UNIQUE,
    id               TEXT NOT NULL,            -- its own prj-… or reg-…, else ''
    region_id        TEXT NOT NULL,            -- the region that is told about it, else ''
    generation       INTEGER NOT NULL,
    resource_version INTEGER NOT NULL,         -- last change of anything
    desired_version  INTEGER NOT NULL,         -- last change of what is wanted
    created_at       INTEGER NOT NULL,
    updated_at       INTEGER NOT NULL,
    deleted_at       INTEGER,
    content          TEXT NOT NULL,
    labels           TEXT NOT NULL,
    annotations      TEXT NOT NULL,
    finalizers       TEXT NOT NULL,
    status           TEXT NOT NULL,
    PRIMARY KEY (org_id, kind, project_id, name)
) STRICT;
CREATE UNIQUE INDEX resources_by_id ON resources (org_id, kind, id) WHERE id <> '';
CREATE INDEX resources_by_region ON resources (region_id, project_id) WHERE region_id <> '';

-- The feed: the newest desired change of each object. Read as "what happened after", the object itself is read as it is now.
CREATE TABLE changes (
    seq       INTEGER PRIMARY KEY,
    org_id    TEXT NOT NULL,
    region_id TEXT NOT NULL,
    uid       TEXT NOT NULL UNIQUE
) STRICT;
CREATE INDEX changes_by_region ON changes (region_id, seq);

-- Extracted secrets. ciphertext is NULL once the region has confirmed that it holds the value.
CREATE TABLE sealed (
    org_id      TEXT NOT NULL,
    uid         TEXT NOT NULL REFERENCES resources (uid) ON DELETE CASCADE,
    field       TEXT NOT NULL,
    version     INTEGER NOT NULL,
    key_id      TEXT NOT NULL,
    ciphertext  TEXT,
    fingerprint BLOB NOT NULL,                 -- keyed hash; tells "same value again" without the value
    PRIMARY KEY (uid, field)
) STRICT;

CREATE TABLE regions (
    region_id       TEXT PRIMARY KEY,
    key_spki        BLOB NOT NULL,
    hpke_public_key BLOB NOT NULL,
    hpke_key_id     TEXT NOT NULL,
    joined_at       INTEGER NOT NULL
) STRICT;

CREATE TABLE join_tokens (
    id            TEXT PRIMARY KEY,
    region_id     TEXT NOT NULL,
    secret_sha256 BLOB NOT NULL,
    expires_at    INTEGER NOT NULL,
    used_at       INTEGER
) STRICT;

CREATE TABLE region_positions (
    region_id TEXT PRIMARY KEY,
    epoch     INTEGER NOT NULL,
    seq       INTEGER NOT NULL,
    head      BLOB NOT NULL,
    cursor    INTEGER NOT NULL
) STRICT;

CREATE TABLE region_log (
    region_id TEXT NOT NULL,
    epoch     INTEGER NOT NULL,
    seq       INTEGER NOT NULL,
    header    BLOB NOT NULL,
    signature BLOB NOT NULL,
    payload   BLOB NOT NULL,
    PRIMARY KEY (region_id, epoch, seq)
) STRICT;

CREATE TABLE api_keys (
    id           TEXT PRIMARY KEY,
    org_id       TEXT NOT NULL REFERENCES organizations (id),
    name         TEXT NOT NULL,
    token_sha256 BLOB NOT NULL UNIQUE,
    role         TEXT NOT NULL,
    project_id   TEXT NOT NULL,                -- '' = the whole organization
    created_at   INTEGER NOT NULL,
    created_by   TEXT NOT NULL,
    expires_at   INTEGER,
    UNIQUE (org_id, name)
) STRICT;

CREATE TABLE audit (
    seq          INTEGER PRIMARY KEY AUTOINCREMENT,
    id           TEXT NOT NULL UNIQUE,
    org_id       TEXT NOT NULL,
    occurred_at  INTEGER NOT NULL,
    actor_type   TEXT NOT NULL,
    actor_id     TEXT NOT NULL,
    action       TEXT NOT NULL,
    outcome      TEXT NOT NULL,
    kind         TEXT NOT NULL,
    name         TEXT NOT NULL,
    project_id   TEXT NOT NULL,
    event        TEXT NOT NULL                 -- the whole event as JSON
) STRICT;
CREATE INDEX audit_by_time ON audit (org_id, occurred_at);
