-- What several processes on one database need: secrets that all of them know, and that the order of votes and the numbers of labels have
-- no double, even where somebody writes without the lock of arena/postgres.py. The indexes are what DuckDB finds by scanning.
CREATE TABLE secrets (
    purpose TEXT PRIMARY KEY,
    secret  TEXT NOT NULL CHECK (length(secret) >= 32)
);

CREATE UNIQUE INDEX votes_order ON votes (vote_order);
CREATE UNIQUE INDEX labels_code ON labels (kind, code);
CREATE UNIQUE INDEX ballots_order ON ballots (vote_order);
CREATE INDEX battles_voter ON battles (voter_id);
CREATE INDEX battles_completion_a ON battles (completion_a);
CREATE INDEX battles_completion_b ON battles (completion_b);
CREATE INDEX votes_voter ON votes (voter_id);
