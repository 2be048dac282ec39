-- The Merkle tree over each ledger, as far as it can't change any more: tiles of 256 hashes, the `tile`-th of a level.
-- They follow from the entries.
CREATE TABLE ledger_tiles (
    org_id UUID   NOT NULL REFERENCES orgs (org_id),
    level  BIGINT NOT NULL,
    tile   BIGINT NOT NULL,
    hashes BYTEA  NOT NULL,
    PRIMARY KEY (org_id, level, tile)
);

-- The keys that sign checkpoints. One at a time; its secret is encrypted, or kept outside.
CREATE TABLE ledger_keys (
    org_id      UUID   NOT NULL REFERENCES orgs (org_id),
    key_id      UUID   NOT NULL,
    public_key  BYTEA  NOT NULL,
    wrapped_key BYTEA,
    ciphertext  BYTEA,
    created_at  BIGINT NOT NULL,
    retired_at  BIGINT,
    PRIMARY KEY (org_id, key_id)
);

CREATE UNIQUE INDEX ledger_keys_in_use ON ledger_keys (org_id) WHERE retired_at IS NULL;

-- What each ledger was when it was signed, a row for each key that signed it. Never deleted.
CREATE TABLE ledger_checkpoints (
    org_id    UUID   NOT NULL REFERENCES orgs (org_id),
    size      BIGINT NOT NULL,
    key_id    UUID   NOT NULL,
    root      BYTEA  NOT NULL,
    signature BYTEA  NOT NULL,
    signed_at BIGINT NOT NULL,
    PRIMARY KEY (org_id, size, key_id),
    FOREIGN KEY (org_id, key_id) REFERENCES ledger_keys (org_id, key_id)
);
