-- Who accepted which terms (arena/terms.py), and when. Whoever deletes a voter's data deletes the rows.
CREATE TABLE acceptances (
    voter_id    TEXT NOT NULL,
    terms       TEXT NOT NULL, -- a hash of the text
    accepted_at TIMESTAMP NOT NULL,
    PRIMARY KEY (voter_id, terms)
);
