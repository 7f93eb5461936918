-- Votes that an audit keeps from counting. A vote in here was rated before: taking the flag away makes it count again.
CREATE TABLE flags (
    vote_id    TEXT PRIMARY KEY,
    reason     TEXT NOT NULL,
    flagged_at TIMESTAMP NOT NULL
);
