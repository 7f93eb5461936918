-- What was deleted, when and why: counts and names of datasets, never a text and never a voter.
CREATE TABLE deletions (
    deletion_id TEXT PRIMARY KEY,
    deleted_at  TIMESTAMP NOT NULL,
    cause       TEXT NOT NULL CHECK (cause IN ('voter', 'retention', 'abandoned')),
    n_battles   BIGINT NOT NULL CHECK (n_battles >= 0), -- whose prompts and answers were removed
    n_votes     BIGINT NOT NULL CHECK (n_votes >= 0),   -- that stay, without whoever cast them (cause 'voter') or without texts
    n_answers   BIGINT NOT NULL CHECK (n_answers >= 0), -- that no other battle uses
    datasets    TEXT NOT NULL                           -- JSON: names in results/datasets/ that hold the voter's texts
);
