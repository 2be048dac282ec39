-- After a rotation the secret before it may be good for a while.
ALTER TABLE api_keys ADD COLUMN old_hash BYTEA;
ALTER TABLE api_keys ADD COLUMN old_until BIGINT;
