-- Erasures are few and asked for at every start.
CREATE INDEX entries_that_erase ON entries (org_id, seq) WHERE kind = 'erasure';
