-- What requests with an `Idempotency-Key` were answered, encrypted under a key of its own, for a day. An answer tells of
-- the entries from `first_seq` to `last_seq`, and goes when one of them is erased.
CREATE TABLE answers (
    org_id          UUID   NOT NULL REFERENCES orgs (org_id),
    account_id      UUID   NOT NULL,
    route           TEXT   NOT NULL,
    idempotency_key TEXT   NOT NULL,
    answer_id       UUID   NOT NULL,
    first_seq       BIGINT NOT NULL,
    last_seq        BIGINT NOT NULL,
    wrapped_key     BYTEA  NOT NULL,
    ciphertext      BYTEA  NOT NULL,
    created_at      BIGINT NOT NULL,
    PRIMARY KEY (org_id, account_id, route, idempotency_key)
);

CREATE INDEX answers_by_age ON answers (created_at);

-- Which policies are in force is said by the ledger: at each start what is stored is compared with the last of these.
CREATE INDEX entries_of_policies ON entries (org_id, seq) WHERE kind = 'policy';
