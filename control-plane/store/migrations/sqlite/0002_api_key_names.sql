-- Names of API keys are unique within their scope only: a project's administrator must not learn from a refusal which names others use.
CREATE TABLE api_keys_by_scope (
    id           TEXT PRIMARY KEY,
    org_id       TEXT NOT NULL REFERENCES organizations (id),
    name         TEXT NOT NULL,
    token_sha256 BLOB NOT NULL UNIQUE,
    role         TEXT NOT NULL,
    project_id   TEXT NOT NULL,                -- '' = the whole organization
    created_at   INTEGER NOT NULL,
    created_by   TEXT NOT NULL,
    expires_at   INTEGER,
    UNIQUE (org_id, project_id, name)
) STRICT;
INSERT INTO api_keys_by_scope SELECT id, org_id, name, token_sha256, role, project_id, created_at, created_by, expires_at FROM api_keys;
DROP TABLE api_keys;
ALTER TABLE api_keys_by_scope RENAME TO api_keys;
