-- Every table belongs to an org, and every primary key starts with it. Ids are UUIDv7, times are
-- microseconds since 1970, hashes are 32 bytes.

CREATE TABLE orgs (
    org_id     UUID   NOT NULL PRIMARY KEY,
    name       TEXT   NOT NULL,
    created_at BIGINT NOT NULL
);

-- Where each org's ledger stands. The row is the guard of every batch: it moves only from where the batch began.
CREATE TABLE heads (
    org_id   UUID   NOT NULL PRIMARY KEY REFERENCES orgs (org_id),
    next_seq BIGINT NOT NULL,
    hash     BYTEA   NOT NULL,
    at       BIGINT NOT NULL
);

-- The ledger. `canonical` is what is hashed; the other columns are indexes over it.
CREATE TABLE entries (
    org_id    UUID   NOT NULL REFERENCES orgs (org_id),
    seq       BIGINT NOT NULL,
    entry_id  UUID   NOT NULL,
    canonical BYTEA   NOT NULL,
    hash      BYTEA   NOT NULL,
    prev_hash BYTEA   NOT NULL,
    kind      TEXT   NOT NULL,
    source    TEXT   NOT NULL,
    agent_id  UUID,
    task      TEXT,
    actor     TEXT   NOT NULL,
    action    TEXT,
    outcome   TEXT,
    risk      BIGINT,
    at        BIGINT NOT NULL,
    PRIMARY KEY (org_id, seq)
);

CREATE UNIQUE INDEX entries_by_id ON entries (org_id, entry_id);

-- What an entry was made from, encrypted under a key of its own, so that it can be erased by erasing the key.
CREATE TABLE payloads (
    org_id      UUID NOT NULL REFERENCES orgs (org_id),
    entry_id    UUID NOT NULL,
    wrapped_key BYTEA NOT NULL,
    ciphertext  BYTEA NOT NULL,
    PRIMARY KEY (org_id, entry_id)
);

CREATE TABLE users (
    org_id        UUID   NOT NULL REFERENCES orgs (org_id),
    user_id       UUID   NOT NULL,
    email         TEXT   NOT NULL,
    role          TEXT   NOT NULL,
    password_hash TEXT   NOT NULL,
    created_at    BIGINT NOT NULL,
    PRIMARY KEY (org_id, user_id)
);

CREATE UNIQUE INDEX users_by_email ON users (email);

CREATE TABLE api_keys (
    org_id       UUID   NOT NULL REFERENCES orgs (org_id),
    key_id       UUID   NOT NULL,
    account_id   UUID   NOT NULL,
    name         TEXT   NOT NULL,
    prefix       TEXT   NOT NULL,
    agent_id     UUID,
    hash         BYTEA   NOT NULL,
    created_at   BIGINT NOT NULL,
    last_used_at BIGINT,
    revoked_at   BIGINT,
    PRIMARY KEY (org_id, key_id)
);

CREATE UNIQUE INDEX api_keys_by_hash ON api_keys (hash);

-- `profile` is the registration as JSON text: what the caller said about the agent.
CREATE TABLE agents (
    org_id        UUID    NOT NULL REFERENCES orgs (org_id),
    agent_id      UUID    NOT NULL,
    agent_key     TEXT    NOT NULL,
    account_id    UUID,
    key_id        UUID,
    profile       TEXT    NOT NULL,
    declared      BIGINT NOT NULL,
    inactive      TEXT,
    reason        TEXT,
    revision      BIGINT  NOT NULL,
    registered_at BIGINT  NOT NULL,
    updated_at    BIGINT  NOT NULL,
    PRIMARY KEY (org_id, agent_id)
);

CREATE UNIQUE INDEX agents_by_key ON agents (org_id, agent_key);

-- One run of an agent: how many steps it has, and the hash that chains them.
CREATE TABLE tasks (
    org_id  UUID   NOT NULL REFERENCES orgs (org_id),
    task    TEXT   NOT NULL,
    steps   BIGINT NOT NULL,
    hash    BYTEA   NOT NULL,
    last_at BIGINT NOT NULL,
    PRIMARY KEY (org_id, task)
);

CREATE TABLE intents (
    org_id          UUID   NOT NULL REFERENCES orgs (org_id),
    intent_id       UUID   NOT NULL,
    agent_id        UUID   NOT NULL,
    action          TEXT   NOT NULL,
    status          TEXT   NOT NULL,
    risk            BIGINT NOT NULL,
    idempotency_key TEXT,
    request_digest  BYTEA   NOT NULL,
    created_at      BIGINT NOT NULL,
    PRIMARY KEY (org_id, intent_id)
);

CREATE UNIQUE INDEX intents_by_idempotency_key ON intents (org_id, idempotency_key);

CREATE TABLE policies (
    org_id     UUID    NOT NULL REFERENCES orgs (org_id),
    policy_id  UUID    NOT NULL,
    name       TEXT    NOT NULL,
    title      TEXT    NOT NULL,
    enabled    BIGINT NOT NULL,
    shadow     BIGINT NOT NULL,
    version    BIGINT  NOT NULL,
    revision   BIGINT  NOT NULL,
    digest     BYTEA    NOT NULL,
    created_at BIGINT  NOT NULL,
    updated_at BIGINT  NOT NULL,
    PRIMARY KEY (org_id, policy_id)
);

CREATE UNIQUE INDEX policies_by_name ON policies (org_id, name);

-- Every source that was ever saved; a removed policy keeps its versions, so that old decisions can be explained.
CREATE TABLE policy_versions (
    org_id     UUID   NOT NULL REFERENCES orgs (org_id),
    policy_id  UUID   NOT NULL,
    version    BIGINT NOT NULL,
    digest     BYTEA   NOT NULL,
    actor      TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (org_id, policy_id, version)
);

CREATE TABLE policy_sources (
    org_id UUID NOT NULL REFERENCES orgs (org_id),
    digest BYTEA NOT NULL,
    source TEXT NOT NULL,
    PRIMARY KEY (org_id, digest)
);

-- Hits of one rule with one key, folded. `title` and `fold_key` may hold personal data, so they are not in the ledger.
CREATE TABLE incidents (
    org_id      UUID    NOT NULL REFERENCES orgs (org_id),
    incident_id UUID    NOT NULL,
    rule        TEXT    NOT NULL,
    fold_key    TEXT    NOT NULL,
    severity    TEXT    NOT NULL,
    status      TEXT    NOT NULL,
    agent_id    UUID    NOT NULL,
    task        TEXT    NOT NULL,
    title       TEXT    NOT NULL,
    hits        BIGINT  NOT NULL,
    first_seen  BIGINT  NOT NULL,
    last_seen   BIGINT  NOT NULL,
    fold_until  BIGINT  NOT NULL,
    witnesses   TEXT    NOT NULL,
    PRIMARY KEY (org_id, incident_id)
);

CREATE INDEX incidents_to_fold ON incidents (org_id, fold_until);
