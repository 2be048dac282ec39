-- Whether another org gave out the person's first password since the invitation: logging in does not accept it then.
ALTER TABLE members ADD COLUMN outdated BIGINT NOT NULL DEFAULT 0;

-- The groups that a member is in, as a JSON list of names.
ALTER TABLE members ADD COLUMN group_names TEXT NOT NULL DEFAULT '[]';

-- Wrong logins in a row, by the SHA-256 of the e-mail address that was tried. They belong to no org: anybody may try any
-- address.
CREATE TABLE login_tries (
    address    BYTEA  NOT NULL PRIMARY KEY,
    is_known   BIGINT NOT NULL,
    wrong      BIGINT NOT NULL,
    wait_until BIGINT NOT NULL,
    last_at    BIGINT NOT NULL
);

CREATE INDEX login_tries_to_forget ON login_tries (is_known, last_at);

-- How many intents an org declared in a day (UTC, counted from 1970), where that is limited.
CREATE TABLE quota_days (
    org_id UUID   NOT NULL REFERENCES orgs (org_id),
    day    BIGINT NOT NULL,
    used   BIGINT NOT NULL,
    PRIMARY KEY (org_id, day)
);
