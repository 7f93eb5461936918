-- What ratings read: every vote as a row of numbers, written with the vote, so that ten million of them need no text and no join.
-- Whether a vote is rated stays in votes alone.
CREATE TABLE labels (
    kind  TEXT NOT NULL CHECK (kind IN ('model', 'voter', 'prompt')),
    label TEXT NOT NULL,
    code  INTEGER NOT NULL,
    PRIMARY KEY (kind, label)
);

-- The style of an answer, counted once: whitespace-separated words, and Markdown outside code fences, as FastChat counts it.
CREATE TABLE styles (
    completion_id TEXT PRIMARY KEY,
    tokens        INTEGER NOT NULL,
    headers       INTEGER NOT NULL,
    lists         INTEGER NOT NULL,
    bold          INTEGER NOT NULL,
    latency_s     DOUBLE PRECISION
);

CREATE TABLE ballots (
    vote_order  BIGINT NOT NULL,
    model_a     INTEGER NOT NULL, -- labels.code of kind 'model'
    model_b     INTEGER NOT NULL,
    winner      INTEGER NOT NULL CHECK (winner BETWEEN 0 AND 3), -- model_a, model_b, tie, both_bad
    voter       INTEGER, -- NULL: not known
    prompt      INTEGER, -- of prompt_id, else of the messages; NULL: neither is known
    probability DOUBLE PRECISION,
    tokens_a    INTEGER, -- NULL: the vote came without texts
    tokens_b    INTEGER,
    headers_a   INTEGER,
    headers_b   INTEGER,
    lists_a     INTEGER,
    lists_b     INTEGER,
    bold_a      INTEGER,
    bold_b      INTEGER,
    latency_s_a DOUBLE PRECISION,
    latency_s_b DOUBLE PRECISION
);

-- The macros of the file of this name in sql/, for this database: the same names, the same results (RE2's \s is ASCII here, its \p{Z} is
-- spelt out; (?w) is RE2's (?m)). A text cannot hold the character 0 here: where an answer does, it is read as another sign.
CREATE FUNCTION occurrences(content TEXT, pattern TEXT) RETURNS INTEGER LANGUAGE SQL IMMUTABLE AS
    $$ SELECT count(*)::INTEGER FROM regexp_matches(content, pattern, 'g') $$;
CREATE FUNCTION answer_text(document TEXT) RETURNS TEXT LANGUAGE SQL IMMUTABLE AS
    $$ SELECT coalesce(regexp_replace(document, '(?<!\\)((?:\\\\)*)\\u0000', '\1\\u0001', 'g')::JSON ->> 'text', '') $$;
CREATE FUNCTION prose(content TEXT) RETURNS TEXT LANGUAGE SQL IMMUTABLE AS
    $$ SELECT regexp_replace(content, '```[^`]*```', '', 'g') $$;
CREATE FUNCTION header_count(content TEXT) RETURNS INTEGER LANGUAGE SQL IMMUTABLE AS
    $$ SELECT occurrences(prose(content), '(?w)^#{1,6}[\t\n\f\r ]') $$;
CREATE FUNCTION list_count(content TEXT) RETURNS INTEGER LANGUAGE SQL IMMUTABLE AS
    $$ SELECT occurrences(prose(content), '(?w)^[\t\n\f\r ]*[0-9]+\.[\t\n\f\r ]')
        + occurrences(prose(content), '(?w)^[\t\n\f\r ]*[-*+][\t\n\f\r ]') $$;
CREATE FUNCTION bold_count(content TEXT) RETURNS INTEGER LANGUAGE SQL IMMUTABLE AS
    $$ SELECT occurrences(prose(content), '\*\*[^*\n]+\*\*') + occurrences(prose(content), '__[^_\n]+__') $$;
CREATE FUNCTION word_count(content TEXT) RETURNS INTEGER LANGUAGE SQL IMMUTABLE AS
    $$ SELECT occurrences(content, '[^\t\n\f\r \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+') $$;
CREATE FUNCTION prompt_label(prompt_id TEXT, messages TEXT) RETURNS TEXT LANGUAGE SQL IMMUTABLE AS
    $$ SELECT coalesce(prompt_id, CASE WHEN messages <> '[]' THEN 'md5 ' || md5(messages) END) $$;
