-- Battles, their answers, and the votes. Times are UTC. Lists and documents are JSON text, which DuckDB and PostgreSQL both read.
CREATE TABLE completions (
    completion_id TEXT PRIMARY KEY,
    endpoint      TEXT NOT NULL,
    status        TEXT NOT NULL CHECK (status IN ('ok', 'truncated', 'refused', 'filtered', 'api_error', 'timeout', 'malformed')),
    latency_s     DOUBLE PRECISION CHECK (latency_s >= 0),
    cost_usd      DOUBLE PRECISION CHECK (cost_usd >= 0),
    document      TEXT NOT NULL -- the whole Completion, as a line of completions.jsonl
);

CREATE TABLE battles (
    battle_id           TEXT PRIMARY KEY,
    created_at          TIMESTAMP, -- NULL: not recorded
    messages            TEXT NOT NULL,
    model_a             TEXT NOT NULL CHECK (model_a <> ''), -- shown on the left
    model_b             TEXT NOT NULL CHECK (model_b <> ''),
    completion_a        TEXT REFERENCES completions (completion_id), -- NULL: the vote came without texts
    completion_b        TEXT REFERENCES completions (completion_id),
    voter_id            TEXT, -- whoever was shown the battle
    prompt_id           TEXT,
    pairing_policy      TEXT NOT NULL,
    pairing_probability DOUBLE PRECISION CHECK (pairing_probability > 0 AND pairing_probability <= 1),
    mode                TEXT NOT NULL,
    parent_battle_id    TEXT,
    CHECK (model_a <> model_b),
    CHECK ((completion_a IS NULL) = (completion_b IS NULL))
);

CREATE TABLE votes (
    vote_id    TEXT PRIMARY KEY,
    battle_id  TEXT NOT NULL UNIQUE REFERENCES battles (battle_id), -- one vote per battle: the first one stands
    vote_order BIGINT NOT NULL CHECK (vote_order > 0), -- grows with every vote: the order of online Elo
    voter_id   TEXT,
    winner     TEXT NOT NULL CHECK (winner IN ('model_a', 'model_b', 'tie', 'both_bad')),
    reasons    TEXT NOT NULL,
    voted_at   TIMESTAMP, -- NULL: not recorded
    dwell_s    DOUBLE PRECISION CHECK (dwell_s >= 0),
    rated      BOOLEAN NOT NULL, -- FALSE: kept, but does not move the leaderboard
    source     TEXT NOT NULL
);
