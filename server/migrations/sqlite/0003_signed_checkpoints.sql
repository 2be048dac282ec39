-- The Merkle tree over each ledger, as far as it can't change any more: tiles of 256 hashes, the `tile`-th of a level.
-- They follow from the entries.
CREATE TABLE ledger_tiles (
    org_id BLOB   NOT NULL REFERENCES orgs (org_id),
    level  BIGINT NOT NULL,
    tile   BIGINT NOT NULL,
    hashes BLOB   NOT NULL,
    PRIMARY KEY (org_id, level, tile)
);

-- The keys that sign checkpoints. One at a time; its secret is encrypted, or kept outside.
CREATE TABLE ledger_keys (
    org_id      BLOB   NOT NULL REFERENCES orgs (org_id),
    key_id      BLOB   NOT NULL,
    public_key  BLOB   NOT NULL,
    wrapped_key BLOB,
    ciphertext  BLOB,
    created_at  BIGINT NOT NULL,
    retired_at  BIGINT,
    PRIMARY KEY (org_id, key_id)
);

CREATE UNIQUE INDEX ledger_keys_in_use ON ledger_keys (org_id) WHERE retired_at IS NULL;

-- What each ledger was when it was signed, a row for each key that signed it. Never deleted.
CREATE TABLE ledger_checkpoints (
    org_id    BLOB   NOT NULL REFERENCES orgs (org_id),
    size      BIGINT NOT NULL,
    key_id    BLOB   NOT NULL,
    root      BLOB   NOT NULL,
    signature BLOB   NOT NULL,
    signed_at BIGINT NOT NULL,
    PRIMARY KEY (org_id, size, key_id),
    FOREIGN KEY (org_id, key_id) REFERENCES ledger_keys (org_id, key_id)
);
