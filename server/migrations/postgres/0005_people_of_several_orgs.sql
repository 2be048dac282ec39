-- A person is known once, by their e-mail address; what they may do is said for each org that they belong to.
CREATE TABLE members (
    org_id      UUID   NOT NULL REFERENCES orgs (org_id),
    user_id     UUID   NOT NULL,
    role        TEXT   NOT NULL,
    invited_at  BIGINT NOT NULL,
    accepted_at BIGINT,
    PRIMARY KEY (org_id, user_id)
);

CREATE INDEX members_by_user ON members (user_id);

INSERT INTO members (org_id, user_id, role, invited_at, accepted_at)
SELECT org_id, user_id, role, created_at, created_at FROM users;

CREATE UNIQUE INDEX users_by_id ON users (user_id);

ALTER TABLE users DROP COLUMN role;

-- Whether the password was made up by the server and is good for one login.
ALTER TABLE users ADD COLUMN one_time BIGINT NOT NULL DEFAULT 0;
