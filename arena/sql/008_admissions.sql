-- What was asked lately, for limits and budgets (arena/admission.py); written only where results/arena.yaml states some. Rows leave after two
-- days.
CREATE TABLE admissions (
    admission_id TEXT PRIMARY KEY, -- battle, turn and attempt
    voter        TEXT NOT NULL, -- a keyed hash of the voter's id
    address      TEXT, -- a keyed hash of the address; NULL: not known, or nothing is counted by address
    admitted_at  TIMESTAMP NOT NULL,
    expected_usd DOUBLE PRECISION NOT NULL CHECK (expected_usd >= 0),
    cost_usd     DOUBLE PRECISION CHECK (cost_usd >= 0) -- NULL: under way
);
