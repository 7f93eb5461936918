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

CREATE MACRO occurrences(content, pattern) AS len(regexp_extract_all(content, pattern));
CREATE MACRO answer_text(document) AS coalesce(json_extract_string(document, '$.text'), '');
CREATE MACRO prose(content) AS regexp_replace(content, '```[^`]*```', '', 'g');
CREATE MACRO header_count(content) AS occurrences(prose(content), '(?m)^#{1,6}\s');
CREATE MACRO list_count(content) AS occurrences(prose(content), '(?m)^\s*\d+\.\s') + occurrences(prose(content), '(?m)^\s*[-*+]\s');
CREATE MACRO bold_count(content) AS occurrences(prose(content), '\*\*[^*\n]+\*\*') + occurrences(prose(content), '__[^_\n]+__');
CREATE MACRO word_count(content) AS occurrences(content, '[^\s\p{Z}]+');
CREATE MACRO prompt_label(prompt_id, messages) AS coalesce(prompt_id, CASE WHEN messages <> '[]' THEN 'md5 ' || md5(messages) END);

-- Votes that were there before these tables.
INSERT INTO styles
SELECT
    completion_id, word_count(answer_text(document)), header_count(answer_text(document)), list_count(answer_text(document)),
    bold_count(answer_text(document)), latency_s
FROM completions;

INSERT INTO labels
SELECT kind, label, row_number() OVER (PARTITION BY kind ORDER BY label) - 1
FROM (
    SELECT 'model' AS kind, model_a AS label FROM battles
    UNION SELECT 'model', model_b FROM battles
    UNION SELECT 'voter', voter_id FROM votes WHERE voter_id IS NOT NULL
    UNION SELECT 'prompt', prompt_label(prompt_id, messages) FROM battles WHERE prompt_label(prompt_id, messages) IS NOT NULL
);

INSERT INTO ballots
SELECT
    v.vote_order, ma.code, mb.code, list_position(['model_a', 'model_b', 'tie', 'both_bad'], v.winner) - 1, vo.code, pr.code,
    b.pairing_probability, sa.tokens, sb.tokens, sa.headers, sb.headers, sa.lists, sb.lists, sa.bold, sb.bold, sa.latency_s, sb.latency_s
FROM votes AS v
JOIN battles AS b ON b.battle_id = v.battle_id
JOIN labels AS ma ON ma.kind = 'model' AND ma.label = b.model_a
JOIN labels AS mb ON mb.kind = 'model' AND mb.label = b.model_b
LEFT JOIN labels AS vo ON vo.kind = 'voter' AND vo.label = v.voter_id
LEFT JOIN labels AS pr ON pr.kind = 'prompt' AND pr.label = prompt_label(b.prompt_id, b.messages)
LEFT JOIN styles AS sa ON sa.completion_id = b.completion_a
LEFT JOIN styles AS sb ON sb.completion_id = b.completion_b
ORDER BY v.vote_order;
