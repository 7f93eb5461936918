-- What operators decided about endpoints. Rows are added and never changed or removed; per endpoint and matter the last word holds, and
-- results/pairing.yaml where nobody decided.
CREATE TABLE decisions (
    decision_id TEXT PRIMARY KEY,
    endpoint    TEXT NOT NULL CHECK (endpoint <> ''),
    matter      TEXT NOT NULL CHECK (matter IN ('off', 'outage', 'weight', 'boost', 'withdrawn')),
    value       DOUBLE PRECISION, -- off, outage, withdrawn: 1 yes, 0 no; weight, boost: the number; NULL: as the file says
    until       TIMESTAMP, -- an outage that ends by itself
    reason      TEXT NOT NULL,
    decided_by  TEXT NOT NULL,
    decided_at  TIMESTAMP NOT NULL,
    CHECK (matter NOT IN ('off', 'outage', 'withdrawn') OR value IN (0, 1) OR (matter = 'outage' AND value IS NULL)),
    CHECK (matter NOT IN ('weight', 'boost') OR value IS NULL OR value > 0),
    CHECK (matter <> 'withdrawn' OR (value = 1 AND reason <> ''))
);

-- The processes that serve this arena, and when each last proved that it can write (/healthz).
CREATE TABLE heartbeats (
    process TEXT PRIMARY KEY,
    seen_at TIMESTAMP NOT NULL
);
