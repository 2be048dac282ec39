-- Memory is a fold over the ledger; a snapshot of it, encrypted, so that a restart need not fold all of it. The parts
-- of one are written one by one: it counts when all are there.
CREATE TABLE memory_snapshots (
    org_id      UUID   NOT NULL REFERENCES orgs (org_id),
    next_seq    BIGINT NOT NULL,
    part        BIGINT NOT NULL,
    parts       BIGINT NOT NULL,
    snapshot_id UUID   NOT NULL,
    wrapped_key BYTEA   NOT NULL,
    bytes       BYTEA   NOT NULL,
    PRIMARY KEY (org_id, next_seq, part)
);

-- The memories that wait to be filled from the ledger, as JSON text; no row if none does.
CREATE TABLE filling (
    org_id   UUID NOT NULL PRIMARY KEY REFERENCES orgs (org_id),
    memories TEXT NOT NULL
);

-- The numbers of the earlier entries that the rule of an incident rests on.
ALTER TABLE incidents ADD COLUMN earlier TEXT NOT NULL DEFAULT '[]';
