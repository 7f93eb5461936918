-- Votes that an audit keeps from counting. A vote in here was rated before: taking the flag away makes it count again.
CREATE TABLE flags (
    vote_id    TEXT PRIMARY KEY,
    reason     TEXT NOT NULL,
    flagged_at TIMESTAMP NOT NULL
);

-- What happened to the models that take part. Rows are added and never changed or removed: no statement of ours does.
CREATE TABLE ledger (
    entry       BIGINT PRIMARY KEY CHECK (entry > 0),
    model       TEXT NOT NULL CHECK (model <> ''),
    event       TEXT NOT NULL CHECK (event IN ('joined', 'changed', 'withdrawn', 'returned')),
    happened_at TIMESTAMP NOT NULL,
    detail      TEXT NOT NULL -- JSON: wire, model, base_url, engine
);
