-- Every statement that arena/store.py runs, by name. Parameters are $1, $2, …; an insert takes one array per column, so that one statement
-- writes any number of rows.

-- name: insert_completions
INSERT INTO completions (completion_id, endpoint, status, latency_s, cost_usd, document)
SELECT
    unnest($1::TEXT[]), unnest($2::TEXT[]), unnest($3::TEXT[]),
    unnest($4::DOUBLE PRECISION[]), unnest($5::DOUBLE PRECISION[]), unnest($6::TEXT[])
ON CONFLICT DO NOTHING
RETURNING completion_id

-- name: insert_battles
INSERT INTO battles (
    battle_id, created_at, messages, model_a, model_b, completion_a, completion_b, voter_id, prompt_id,
    pairing_policy, pairing_probability, mode, parent_battle_id
)
SELECT
    unnest($1::TEXT[]), unnest($2::TIMESTAMP[]), unnest($3::TEXT[]), unnest($4::TEXT[]), unnest($5::TEXT[]),
    unnest($6::TEXT[]), unnest($7::TEXT[]), unnest($8::TEXT[]), unnest($9::TEXT[]),
    unnest($10::TEXT[]), unnest($11::DOUBLE PRECISION[]), unnest($12::TEXT[]), unnest($13::TEXT[])
ON CONFLICT DO NOTHING
RETURNING battle_id

-- name: last_vote
SELECT coalesce(max(vote_order), 0) FROM votes

-- name: insert_votes
INSERT INTO votes (vote_id, battle_id, vote_order, voter_id, winner, reasons, voted_at, dwell_s, rated, source, unrated_reason)
SELECT
    unnest($1::TEXT[]), unnest($2::TEXT[]), unnest($3::BIGINT[]),
    unnest($4::TEXT[]), unnest($5::TEXT[]), unnest($6::TEXT[]), unnest($7::TIMESTAMP[]),
    unnest($8::DOUBLE PRECISION[]), unnest($9::BOOLEAN[]), unnest($10::TEXT[]), unnest($11::TEXT[])
ON CONFLICT DO NOTHING
RETURNING vote_id

-- name: insert_styles
-- Materialized: the text is taken out of its document once.
INSERT INTO styles (completion_id, tokens, headers, lists, bold, latency_s)
WITH documents AS (
    SELECT unnest($1::TEXT[]) AS completion_id, unnest($2::DOUBLE PRECISION[]) AS latency_s, unnest($3::TEXT[]) AS document
), texts AS MATERIALIZED (
    SELECT d.completion_id, d.latency_s, answer_text(d.document) AS content FROM documents AS d
)
SELECT t.completion_id, word_count(t.content), header_count(t.content), list_count(t.content), bold_count(t.content), t.latency_s
FROM texts AS t
ON CONFLICT DO NOTHING

-- name: behind
-- The last vote that has a ballot, and how many have none yet.
WITH last AS (SELECT coalesce(max(s.vote_order), 0) AS vote_order FROM ballots AS s)
SELECT (SELECT vote_order FROM last), count(*) FROM votes AS v WHERE v.vote_order > (SELECT vote_order FROM last)

-- name: analyze
-- PostgreSQL plans by what it knows of tables: of those that were just filled, nothing.
ANALYZE

-- name: insert_labels
-- The labels that have no number yet of the votes that have no ballot. $1, the last that had one, lets the planner know that they are few.
INSERT INTO labels (kind, label, code)
WITH written AS (
    SELECT b.model_a, b.model_b, v.voter_id, prompt_label(b.prompt_id, b.messages) AS prompt
    FROM votes AS v JOIN battles AS b ON b.battle_id = v.battle_id
    WHERE v.vote_order > $1::BIGINT AND v.vote_order > (SELECT coalesce(max(s.vote_order), 0) FROM ballots AS s)
), named AS (
    SELECT 'model' AS kind, model_a AS label FROM written
    UNION SELECT 'model', model_b FROM written
    UNION SELECT 'voter', voter_id FROM written WHERE voter_id IS NOT NULL
    UNION SELECT 'prompt', prompt FROM written WHERE prompt IS NOT NULL
)
SELECT
    n.kind, n.label,
    (SELECT coalesce(max(k.code), -1) FROM labels AS k WHERE k.kind = n.kind) + row_number() OVER (PARTITION BY n.kind ORDER BY n.label COLLATE "C")
FROM named AS n
WHERE NOT EXISTS (SELECT 1 FROM labels AS known WHERE known.kind = n.kind AND known.label = n.label)

-- name: insert_ballots
-- Of the votes that have none; $1 as above.
INSERT INTO ballots
SELECT
    v.vote_order, ma.code, mb.code, CASE v.winner WHEN 'model_a' THEN 0 WHEN 'model_b' THEN 1 WHEN 'tie' THEN 2 ELSE 3 END,
    vo.code, pr.code, b.pairing_probability,
    sa.tokens, sb.tokens, sa.headers, sb.headers, sa.lists, sb.lists, sa.bold, sb.bold, sa.latency_s, sb.latency_s
FROM votes AS v
JOIN battles AS b ON b.battle_id = v.battle_id
JOIN labels AS ma ON ma.kind = 'model' AND ma.label = b.model_a
JOIN labels AS mb ON mb.kind = 'model' AND mb.label = b.model_b
LEFT JOIN labels AS vo ON vo.kind = 'voter' AND vo.label = v.voter_id
LEFT JOIN labels AS pr ON pr.kind = 'prompt' AND pr.label = prompt_label(b.prompt_id, b.messages)
LEFT JOIN styles AS sa ON sa.completion_id = b.completion_a
LEFT JOIN styles AS sb ON sb.completion_id = b.completion_b
WHERE v.vote_order > $1::BIGINT AND v.vote_order > (SELECT coalesce(max(s.vote_order), 0) FROM ballots AS s)
ORDER BY v.vote_order

-- name: labels
SELECT label, code FROM labels WHERE kind = 'model'

-- name: ballots
-- The rated votes; $1 is one voter's id, or NULL for everybody.
SELECT s.vote_order, s.model_a, s.model_b, s.winner, s.voter, s.prompt
FROM ballots AS s
WHERE s.vote_order NOT IN (SELECT u.vote_order FROM votes AS u WHERE NOT u.rated)
AND ($1::TEXT IS NULL OR s.voter = (SELECT n.code FROM labels AS n WHERE n.kind = 'voter' AND n.label = $1))

-- name: ballots_by_voter
SELECT s.model_a, s.model_b, s.winner, s.voter
FROM ballots AS s
WHERE s.vote_order NOT IN (SELECT u.vote_order FROM votes AS u WHERE NOT u.rated)
AND ($1::TEXT IS NULL OR s.voter = (SELECT n.code FROM labels AS n WHERE n.kind = 'voter' AND n.label = $1))

-- name: ballots_counted
SELECT s.model_a, s.model_b, s.winner, count(*) AS votes
FROM ballots AS s
WHERE s.vote_order NOT IN (SELECT u.vote_order FROM votes AS u WHERE NOT u.rated)
AND ($1::TEXT IS NULL OR s.voter = (SELECT n.code FROM labels AS n WHERE n.kind = 'voter' AND n.label = $1))

-- name: ballots_with_columns
SELECT s.*
FROM ballots AS s
WHERE s.vote_order NOT IN (SELECT u.vote_order FROM votes AS u WHERE NOT u.rated)
AND ($1::TEXT IS NULL OR s.voter = (SELECT n.code FROM labels AS n WHERE n.kind = 'voter' AND n.label = $1))

-- name: tallies
-- $1 is what votes are clustered by: 'none', 'voter' or 'prompt'. A vote whose cluster is unknown is a cluster of its own.
WITH rated AS (
    SELECT
        b.model_a, b.model_b, v.winner,
        CASE $1
            WHEN 'voter' THEN coalesce(v.voter_id, 'vote ' || v.vote_id)
            WHEN 'prompt' THEN coalesce(b.prompt_id, nullif(b.messages, '[]'), 'vote ' || v.vote_id)
        END AS cluster
    FROM votes AS v JOIN battles AS b ON b.battle_id = v.battle_id
    WHERE v.rated
)
SELECT
    model_a, model_b,
    sum(CASE winner WHEN 'model_a' THEN 1 ELSE 0 END)::BIGINT AS wins_a,
    sum(CASE winner WHEN 'model_b' THEN 1 ELSE 0 END)::BIGINT AS wins_b,
    sum(CASE winner WHEN 'tie' THEN 1 ELSE 0 END)::BIGINT AS ties,
    sum(CASE winner WHEN 'both_bad' THEN 1 ELSE 0 END)::BIGINT AS both_bad,
    cluster
FROM rated
GROUP BY model_a, model_b, cluster
ORDER BY model_a COLLATE "C", model_b COLLATE "C", cluster COLLATE "C"

-- name: outcomes
SELECT b.model_a, b.model_b, v.winner
FROM votes AS v JOIN battles AS b ON b.battle_id = v.battle_id
WHERE v.rated
ORDER BY v.vote_order, v.vote_id

-- name: counts
SELECT
    count(*),
    coalesce(sum(CASE WHEN rated THEN 0 ELSE 1 END), 0)::BIGINT,
    coalesce(sum(CASE WHEN rated AND winner = 'both_bad' THEN 1 ELSE 0 END), 0)::BIGINT
FROM votes

-- name: battle
SELECT
    b.battle_id, b.created_at, b.messages, b.model_a, b.model_b, b.completion_a, b.completion_b, b.voter_id, b.prompt_id,
    b.pairing_policy, b.pairing_probability, b.mode, b.parent_battle_id
FROM battles AS b WHERE b.battle_id = $1

-- name: battles_of
SELECT
    b.battle_id, b.created_at, b.messages, b.model_a, b.model_b, b.completion_a, b.completion_b, b.voter_id, b.prompt_id,
    b.pairing_policy, b.pairing_probability, b.mode, b.parent_battle_id
FROM battles AS b WHERE b.voter_id = $1
ORDER BY b.created_at DESC NULLS LAST, b.battle_id

-- name: vote_of
SELECT v.vote_id, v.battle_id, v.voter_id, v.winner, v.reasons, v.voted_at, v.dwell_s, v.rated, v.source, v.unrated_reason
FROM votes AS v WHERE v.battle_id = $1

-- name: completions_of
SELECT a.document, c.document
FROM battles AS b
JOIN completions AS a ON a.completion_id = b.completion_a
JOIN completions AS c ON c.completion_id = b.completion_b
WHERE b.battle_id = $1

-- name: voted
SELECT
    v.vote_id, v.battle_id, v.voter_id, v.winner, v.reasons, v.voted_at, v.dwell_s, v.rated, v.source, v.unrated_reason,
    b.battle_id, b.created_at, b.messages, b.model_a, b.model_b, b.completion_a, b.completion_b, b.voter_id, b.prompt_id,
    b.pairing_policy, b.pairing_probability, b.mode, b.parent_battle_id
FROM votes AS v JOIN battles AS b ON b.battle_id = v.battle_id
ORDER BY v.vote_order, v.vote_id

-- name: voted_completions
SELECT completion_id, document FROM completions
WHERE completion_id IN (SELECT b.completion_a FROM votes AS v JOIN battles AS b ON b.battle_id = v.battle_id)
OR completion_id IN (SELECT b.completion_b FROM votes AS v JOIN battles AS b ON b.battle_id = v.battle_id)

-- name: audit_rows
-- What an audit looks at: votes that count, and those that only an audit keeps from counting.
SELECT
    v.vote_id, v.voter_id, b.model_a, b.model_b, v.winner, coalesce(b.prompt_id, nullif(b.messages, '[]')) AS prompt,
    extract(epoch FROM v.voted_at)::DOUBLE PRECISION AS voted_at_s, v.dwell_s,
    coalesce(length(answer_text(a.document)) + length(answer_text(c.document)), 0) AS characters,
    answer_text(a.document) AS text_a, answer_text(c.document) AS text_b, b.messages
FROM votes AS v
JOIN battles AS b ON b.battle_id = v.battle_id
LEFT JOIN completions AS a ON a.completion_id = b.completion_a
LEFT JOIN completions AS c ON c.completion_id = b.completion_b
WHERE v.rated OR v.vote_id IN (SELECT f.vote_id FROM flags AS f)
ORDER BY v.vote_order, v.vote_id

-- name: flag_votes
INSERT INTO flags (vote_id, reason, flagged_at)
SELECT unnest($1::TEXT[]), unnest($2::TEXT[]), unnest($3::TIMESTAMP[])
ON CONFLICT DO NOTHING

-- name: unflag_votes
DELETE FROM flags

-- name: unrate_flagged
UPDATE votes SET rated = FALSE WHERE vote_id IN (SELECT f.vote_id FROM flags AS f)

-- name: rate_flagged
UPDATE votes SET rated = TRUE WHERE vote_id IN (SELECT f.vote_id FROM flags AS f)

-- name: flags
SELECT f.vote_id, f.reason, f.flagged_at FROM flags AS f ORDER BY f.flagged_at, f.vote_id

-- name: insert_decision
INSERT INTO decisions (decision_id, endpoint, matter, value, until, reason, decided_by, decided_at)
VALUES ($1, $2, $3, $4::DOUBLE PRECISION, $5::TIMESTAMP, $6, $7, $8)

-- name: decisions
SELECT d.decision_id, d.endpoint, d.matter, d.value, d.until, d.reason, d.decided_by, d.decided_at
FROM decisions AS d
ORDER BY d.decided_at, d.decision_id

-- name: lately
-- Per endpoint since $1: answers asked for, those that failed, dollars, answers without a price.
WITH sides AS (
    SELECT completion_a AS completion_id FROM battles WHERE created_at >= $1::TIMESTAMP
    UNION ALL
    SELECT completion_b FROM battles WHERE created_at >= $1::TIMESTAMP
)
SELECT
    c.endpoint, count(*),
    sum(CASE WHEN c.status IN ('ok', 'truncated', 'refused') THEN 0 ELSE 1 END)::BIGINT,
    coalesce(sum(c.cost_usd), 0)::DOUBLE PRECISION,
    sum(CASE WHEN c.cost_usd IS NULL AND c.status IN ('ok', 'truncated', 'refused') THEN 1 ELSE 0 END)::BIGINT
FROM sides AS s JOIN completions AS c ON c.completion_id = s.completion_id
GROUP BY c.endpoint
ORDER BY c.endpoint

-- name: failures_since
WITH sides AS (
    SELECT battle_id, created_at, completion_a AS completion_id FROM battles WHERE created_at >= $1::TIMESTAMP
    UNION ALL
    SELECT battle_id, created_at, completion_b FROM battles WHERE created_at >= $1::TIMESTAMP
)
SELECT s.created_at, s.battle_id, c.endpoint, c.status, (c.document::JSON) ->> 'error'
FROM sides AS s JOIN completions AS c ON c.completion_id = s.completion_id
WHERE c.status NOT IN ('ok', 'truncated', 'refused')
ORDER BY s.created_at DESC, s.battle_id
LIMIT 500

-- name: touch
INSERT INTO heartbeats (process, seen_at) VALUES ($1, $2)
ON CONFLICT (process) DO UPDATE SET seen_at = EXCLUDED.seen_at

-- name: forget_heartbeats
DELETE FROM heartbeats WHERE seen_at < $1

-- name: heartbeats
SELECT h.process, h.seen_at FROM heartbeats AS h ORDER BY h.seen_at DESC, h.process

-- name: insert_ledger
INSERT INTO ledger (entry, model, event, happened_at, detail)
SELECT
    (SELECT coalesce(max(entry), 0) FROM ledger) + unnest($1::BIGINT[]),
    unnest($2::TEXT[]), unnest($3::TEXT[]), unnest($4::TIMESTAMP[]), unnest($5::TEXT[])

-- name: ledger
SELECT model, event, happened_at, detail FROM ledger ORDER BY entry

-- name: ledger_counts
-- Per model: battles drawn here (not those whose voter chose the pair), battles imported, votes, unrated votes, flagged votes, first and
-- last battle.
WITH sides AS (
    SELECT model_a AS model, battle_id, created_at, pairing_policy FROM battles
    UNION ALL
    SELECT model_b AS model, battle_id, created_at, pairing_policy FROM battles
)
SELECT
    s.model,
    sum(CASE WHEN s.pairing_policy IN ('imported', 'chosen') THEN 0 ELSE 1 END)::BIGINT,
    sum(CASE s.pairing_policy WHEN 'imported' THEN 1 ELSE 0 END)::BIGINT,
    count(v.vote_id),
    sum(CASE WHEN v.vote_id IS NOT NULL AND NOT v.rated THEN 1 ELSE 0 END)::BIGINT,
    count(f.vote_id),
    min(s.created_at), max(s.created_at)
FROM sides AS s
LEFT JOIN votes AS v ON v.battle_id = s.battle_id
LEFT JOIN flags AS f ON f.vote_id = v.vote_id
GROUP BY s.model
ORDER BY s.model

-- name: vote_rows
SELECT
    v.vote_id, v.battle_id, b.model_a, b.model_b, v.winner, v.voter_id, b.prompt_id, v.voted_at, v.dwell_s, v.reasons, v.rated,
    v.unrated_reason, f.reason AS flag, v.source, b.mode, b.pairing_policy, b.pairing_probability
FROM votes AS v
JOIN battles AS b ON b.battle_id = v.battle_id
LEFT JOIN flags AS f ON f.vote_id = v.vote_id
ORDER BY v.vote_order, v.vote_id

-- name: unjudged
-- Prompts that nobody asked about for category $1.
SELECT DISTINCT ON (p.prompt) p.prompt, p.content
FROM (SELECT user_text(b.messages) AS content, md5(lower(content)) AS prompt FROM battles AS b WHERE b.messages <> '[]') AS p
WHERE p.prompt NOT IN (SELECT j.prompt FROM judged AS j WHERE j.category = $1)
ORDER BY p.prompt

-- name: insert_judged
INSERT INTO judged (prompt, category, belongs, judge, judged_at)
SELECT unnest($1::TEXT[]), unnest($2::TEXT[]), unnest($3::BOOLEAN[]), unnest($4::TEXT[]), unnest($5::TIMESTAMP[])
ON CONFLICT DO NOTHING

-- name: n_judged
SELECT count(*) FROM judged AS j WHERE j.category = $1

-- name: insert_turn
-- No ON CONFLICT: of two processes that go on with one conversation, the second is refused.
INSERT INTO turns (battle_id, turn, attempt, asked, asked_at)
VALUES ($1::TEXT, $2::INTEGER, $3::INTEGER, $4::TEXT, $5::TIMESTAMP)

-- name: insert_answer
INSERT INTO answers (battle_id, turn, attempt, side, completion_id)
VALUES ($1::TEXT, $2::INTEGER, $3::INTEGER, $4::TEXT, $5::TEXT)
ON CONFLICT DO NOTHING

-- name: insert_chat
INSERT INTO chats (chat_id, created_at, model, voter_id) VALUES ($1::TEXT, $2::TIMESTAMP, $3::TEXT, $4::TEXT)

-- name: finish_turn
-- The answers that stand are those of the table: another process may have been first. A battle that was voted on stays as it was.
UPDATE battles SET
    messages = $4::TEXT,
    completion_a = (SELECT a.completion_id FROM answers AS a
                    WHERE a.battle_id = $1::TEXT AND a.turn = $2::INTEGER AND a.attempt = $3::INTEGER AND a.side = 'a'),
    completion_b = (SELECT a.completion_id FROM answers AS a
                    WHERE a.battle_id = $1::TEXT AND a.turn = $2::INTEGER AND a.attempt = $3::INTEGER AND a.side = 'b')
WHERE battle_id = $1::TEXT AND NOT EXISTS (SELECT 1 FROM votes AS v WHERE v.battle_id = $1::TEXT)

-- name: chat
SELECT c.chat_id, c.created_at, c.model, c.voter_id FROM chats AS c WHERE c.chat_id = $1

-- name: turns
SELECT t.turn, t.attempt, t.asked FROM turns AS t WHERE t.battle_id = $1 ORDER BY t.turn, t.attempt

-- name: turns_with_answers
-- Of each turn a row without an answer, and one for each of its answers. As a join it would read all answers there are.
SELECT t.turn, t.attempt, NULL::TEXT AS side, NULL::TEXT AS completion_id FROM turns AS t WHERE t.battle_id = $1
UNION ALL
SELECT a.turn, a.attempt, a.side, a.completion_id FROM answers AS a WHERE a.battle_id = $1

-- name: answers
SELECT a.turn, a.attempt, a.side, c.document
FROM answers AS a JOIN completions AS c ON c.completion_id = a.completion_id
WHERE a.battle_id = $1

-- name: explain_vote
UPDATE votes SET reasons = $3::TEXT WHERE battle_id = $1::TEXT AND voter_id = $2::TEXT

-- name: insert_share
INSERT INTO shares (token, battle_id, shared_at) VALUES ($1::TEXT, $2::TEXT, $3::TIMESTAMP) ON CONFLICT DO NOTHING

-- name: share_of
SELECT s.token FROM shares AS s WHERE s.battle_id = $1

-- name: shared_battle
SELECT s.battle_id FROM shares AS s WHERE s.token = $1

-- name: exported_answers
-- In any order: their texts together may be larger than memory.
SELECT c.completion_id, c.status, answer_text(c.document) FROM completions AS c

-- name: exported_votes
SELECT
    v.vote_id, v.battle_id, v.voter_id, v.winner, v.dwell_s, v.rated, f.reason, v.source,
    b.messages, b.model_a, b.model_b, b.completion_a, b.completion_b
FROM votes AS v
JOIN battles AS b ON b.battle_id = v.battle_id
LEFT JOIN flags AS f ON f.vote_id = v.vote_id
ORDER BY v.vote_order, v.vote_id

-- name: battles_to_forget
-- The battles that voter $1 was shown or voted on.
SELECT b.battle_id FROM battles AS b
WHERE b.voter_id = $1 OR b.battle_id IN (SELECT v.battle_id FROM votes AS v WHERE v.voter_id = $1)
ORDER BY b.battle_id

-- name: votes_to_forget
SELECT v.vote_id FROM votes AS v WHERE v.voter_id = $1 ORDER BY v.vote_id

-- name: votes_on
SELECT count(*) FROM votes AS v WHERE v.battle_id IN (SELECT unnest($1::TEXT[]))

-- name: battles_past
-- Battles with texts that were shown before $1.
SELECT b.battle_id FROM battles AS b WHERE b.created_at < $1 AND b.messages <> '[]' ORDER BY b.battle_id

-- name: battles_abandoned
-- Battles of this arena's voters that were shown before $1 and never voted on.
SELECT b.battle_id FROM battles AS b
WHERE b.created_at < $1 AND b.messages <> '[]' AND b.voter_id IS NOT NULL
AND b.battle_id NOT IN (SELECT v.battle_id FROM votes AS v)
ORDER BY b.battle_id

-- name: answers_to_forget
-- How many answers only the battles and chats in $1 use.
SELECT count(*) FROM completions AS c
WHERE c.completion_id IN (
    SELECT b.completion_a FROM battles AS b WHERE b.battle_id IN (SELECT unnest($1::TEXT[]))
    UNION SELECT b.completion_b FROM battles AS b WHERE b.battle_id IN (SELECT unnest($1::TEXT[]))
    UNION SELECT a.completion_id FROM answers AS a WHERE a.battle_id IN (SELECT unnest($1::TEXT[]))
)
AND c.completion_id NOT IN (
    SELECT o.completion_a FROM battles AS o
    WHERE o.completion_a IS NOT NULL AND o.messages <> '[]' AND o.battle_id NOT IN (SELECT unnest($1::TEXT[]))
    UNION ALL SELECT o.completion_b FROM battles AS o
    WHERE o.completion_b IS NOT NULL AND o.messages <> '[]' AND o.battle_id NOT IN (SELECT unnest($1::TEXT[]))
    UNION ALL SELECT o.completion_id FROM answers AS o WHERE o.battle_id NOT IN (SELECT unnest($1::TEXT[]))
)

-- name: forget_answers
-- The row stays for what refers to it: who answered, how it ended, what it took. Request and text go.
UPDATE completions SET document =
    '{"endpoint":' || to_json(endpoint)::TEXT || ',"request":{"messages":[{"role":"user","content":""}]},"status":"' || status || '"}'
WHERE completion_id IN (
    SELECT b.completion_a FROM battles AS b WHERE b.battle_id IN (SELECT unnest($1::TEXT[]))
    UNION SELECT b.completion_b FROM battles AS b WHERE b.battle_id IN (SELECT unnest($1::TEXT[]))
    UNION SELECT a.completion_id FROM answers AS a WHERE a.battle_id IN (SELECT unnest($1::TEXT[]))
)
AND completions.completion_id NOT IN (
    SELECT o.completion_a FROM battles AS o
    WHERE o.completion_a IS NOT NULL AND o.messages <> '[]' AND o.battle_id NOT IN (SELECT unnest($1::TEXT[]))
    UNION ALL SELECT o.completion_b FROM battles AS o
    WHERE o.completion_b IS NOT NULL AND o.messages <> '[]' AND o.battle_id NOT IN (SELECT unnest($1::TEXT[]))
    UNION ALL SELECT o.completion_id FROM answers AS o WHERE o.battle_id NOT IN (SELECT unnest($1::TEXT[]))
)

-- name: forget_turns
DELETE FROM turns WHERE battle_id IN (SELECT unnest($1::TEXT[]))

-- name: forget_answer_rows
DELETE FROM answers WHERE battle_id IN (SELECT unnest($1::TEXT[]))

-- name: forget_shares
DELETE FROM shares WHERE battle_id IN (SELECT unnest($1::TEXT[]))

-- name: forget_chats
DELETE FROM chats WHERE chat_id IN (SELECT unnest($1::TEXT[]))

-- name: chats_to_forget
SELECT c.chat_id FROM chats AS c WHERE c.voter_id = $1 ORDER BY c.chat_id

-- name: chats_past
-- Chats that began before $1.
SELECT c.chat_id FROM chats AS c WHERE c.created_at < $1 ORDER BY c.chat_id

-- name: forget_judged
-- A digest of a prompt would still prove that it was written; what others wrote too is asked about again.
DELETE FROM judged WHERE prompt IN (SELECT unnest($1::TEXT[]))

-- name: prompt_keys
-- The digests under which judged knows the prompts of the battles in $1.
SELECT DISTINCT md5(lower(user_text(b.messages))) FROM battles AS b
WHERE b.messages <> '[]' AND b.battle_id IN (SELECT unnest($1::TEXT[]))

-- name: forget_ballot_prompts
-- The vote becomes one on a prompt of its own.
UPDATE ballots SET prompt = NULL WHERE prompt IN (
    SELECT n.code FROM labels AS n WHERE n.kind = 'prompt' AND n.label IN (
        SELECT 'md5 ' || md5(b.messages) FROM battles AS b
        WHERE b.messages <> '[]' AND b.prompt_id IS NULL AND b.battle_id IN (SELECT unnest($1::TEXT[]))
        AND b.messages NOT IN (
            SELECT o.messages FROM battles AS o WHERE o.prompt_id IS NULL AND o.battle_id NOT IN (SELECT unnest($1::TEXT[]))
        )
    )
)

-- name: forget_prompt_labels
DELETE FROM labels WHERE kind = 'prompt' AND label IN (
    SELECT 'md5 ' || md5(b.messages) FROM battles AS b
    WHERE b.messages <> '[]' AND b.prompt_id IS NULL AND b.battle_id IN (SELECT unnest($1::TEXT[]))
    AND b.messages NOT IN (
        SELECT o.messages FROM battles AS o WHERE o.prompt_id IS NULL AND o.battle_id NOT IN (SELECT unnest($1::TEXT[]))
    )
)

-- name: replace_battles
-- Battles $1 again under the ids $2, without texts and, unless $3, without their voter and hour. DuckDB updates no row of a table that both
-- refers to another and is referred to.
INSERT INTO battles (
    battle_id, created_at, messages, model_a, model_b, completion_a, completion_b, voter_id, prompt_id,
    pairing_policy, pairing_probability, mode, parent_battle_id
)
SELECT
    r.fresh, CASE WHEN $3::BOOLEAN THEN b.created_at ELSE date_trunc('day', b.created_at) END, '[]', b.model_a, b.model_b,
    b.completion_a, b.completion_b, CASE WHEN $3::BOOLEAN THEN b.voter_id END, b.prompt_id,
    b.pairing_policy, b.pairing_probability, b.mode, NULL
FROM battles AS b
JOIN (SELECT unnest($1::TEXT[]) AS old, unnest($2::TEXT[]) AS fresh) AS r ON r.old = b.battle_id

-- name: replace_in_votes
UPDATE votes SET battle_id = r.fresh, reasons = '[]'
FROM (SELECT unnest($1::TEXT[]) AS old, unnest($2::TEXT[]) AS fresh) AS r
WHERE votes.battle_id = r.old

-- name: forget_battles
DELETE FROM battles WHERE battle_id IN (SELECT unnest($1::TEXT[]))

-- name: forget_cast_by
UPDATE votes SET voter_id = NULL, dwell_s = NULL, voted_at = date_trunc('day', voted_at) WHERE voter_id = $1

-- name: forget_ballot_voter
UPDATE ballots SET voter = NULL WHERE voter IN (SELECT n.code FROM labels AS n WHERE n.kind = 'voter' AND n.label = $1)

-- name: forget_voter_label
DELETE FROM labels WHERE kind = 'voter' AND label = $1

-- name: insert_deletion
INSERT INTO deletions (deletion_id, deleted_at, cause, n_battles, n_votes, n_answers, datasets) VALUES ($1, $2, $3, $4, $5, $6, $7)

-- name: deletions
SELECT deletion_id, deleted_at, cause, n_battles, n_votes, n_answers, datasets FROM deletions ORDER BY deleted_at, deletion_id

-- name: insert_admission
INSERT INTO admissions (admission_id, voter, address, admitted_at, expected_usd)
VALUES ($1::TEXT, $2::TEXT, $3::TEXT, $4::TIMESTAMP, $5::DOUBLE PRECISION)
ON CONFLICT DO NOTHING

-- name: settle_admission
UPDATE admissions SET cost_usd = $2::DOUBLE PRECISION WHERE admission_id = $1::TEXT

-- name: forget_admissions
DELETE FROM admissions WHERE admitted_at < $1::TIMESTAMP

-- name: earlier_admission
-- When the voter or address $1 last asked but $3, after $2.
SELECT a.admitted_at FROM admissions AS a
WHERE (a.voter = $1 OR a.address = $1) AND a.admitted_at > $2::TIMESTAMP
ORDER BY a.admitted_at DESC
LIMIT 1 OFFSET $3::BIGINT

-- name: admissions_under_way
SELECT count(*) FROM admissions AS a WHERE a.voter = $1 AND a.cost_usd IS NULL AND a.admitted_at > $2::TIMESTAMP

-- name: spent
-- By everybody, by voter $1 and from address $2, since $3; what is under way counts as expected.
SELECT
    coalesce(sum(coalesce(a.cost_usd, a.expected_usd)), 0)::DOUBLE PRECISION,
    coalesce(sum(CASE WHEN a.voter = $1 THEN coalesce(a.cost_usd, a.expected_usd) END), 0)::DOUBLE PRECISION,
    coalesce(sum(CASE WHEN a.address = $2 THEN coalesce(a.cost_usd, a.expected_usd) END), 0)::DOUBLE PRECISION
FROM admissions AS a WHERE a.admitted_at >= $3::TIMESTAMP

-- name: insert_secret
INSERT INTO secrets (purpose, secret) VALUES ($1::TEXT, $2::TEXT) ON CONFLICT DO NOTHING

-- name: secret
SELECT s.secret FROM secrets AS s WHERE s.purpose = $1

-- name: insert_acceptance
INSERT INTO acceptances (voter_id, terms, accepted_at) VALUES ($1::TEXT, $2::TEXT, $3::TIMESTAMP) ON CONFLICT DO NOTHING

-- name: acceptances_of
SELECT a.terms, a.accepted_at FROM acceptances AS a WHERE a.voter_id = $1

-- name: forget_acceptances
DELETE FROM acceptances WHERE voter_id = $1::TEXT

-- name: ballots_in_time
-- The rated votes with the second (since 1970) in which each was cast, NULL where that is not known.
SELECT s.vote_order, s.model_a, s.model_b, s.winner, extract(epoch FROM v.voted_at)::DOUBLE PRECISION AS time
FROM ballots AS s JOIN votes AS v ON v.vote_order = s.vote_order
WHERE v.rated
AND ($1::TEXT IS NULL OR s.voter = (SELECT n.code FROM labels AS n WHERE n.kind = 'voter' AND n.label = $1))

-- name: pair_votes
-- The votes on models $1 and $2, newest first, $3 of them after the first $4. Of voters nothing; the text where its voter shared the battle, or
-- where it was public before it came here: sources $5, prompts $6.
SELECT
    v.voted_at, b.model_a, b.model_b, v.winner, v.rated, v.source, b.mode, s.token,
    CASE WHEN s.token IS NOT NULL OR v.source IN (SELECT unnest($5::TEXT[])) OR b.prompt_id IN (SELECT unnest($6::TEXT[])) THEN b.messages END
FROM (
    SELECT c.battle_id, c.model_a, c.model_b, c.mode, c.prompt_id, c.messages FROM battles AS c
    WHERE (c.model_a = $1 AND c.model_b = $2) OR (c.model_a = $2 AND c.model_b = $1)
) AS b
JOIN votes AS v ON v.battle_id = b.battle_id
LEFT JOIN shares AS s ON s.battle_id = b.battle_id
ORDER BY v.vote_order DESC, v.vote_id
LIMIT $3::BIGINT OFFSET $4::BIGINT

-- name: votes_by_day
-- Per day (UTC; NULL: not recorded) the votes, and those of them that are rated.
SELECT date_trunc('day', v.voted_at)::DATE AS day, count(*), sum(CASE WHEN v.rated THEN 1 ELSE 0 END)::BIGINT
FROM votes AS v
GROUP BY 1
ORDER BY day NULLS FIRST

-- name: votes_by_source
SELECT v.source, b.mode, count(*), sum(CASE WHEN v.rated THEN 1 ELSE 0 END)::BIGINT
FROM votes AS v JOIN battles AS b ON b.battle_id = v.battle_id
GROUP BY v.source, b.mode
ORDER BY 3 DESC, 1, 2

-- name: votes_unrated
-- Why votes are not rated, of those cast from $1 and before $2 (NULL: of all); what an audit has against a vote stands before what was known
-- when it was cast.
SELECT why, count(*)
FROM (
    SELECT CASE WHEN f.vote_id IS NOT NULL THEN 'flagged: ' || f.reason ELSE coalesce(v.unrated_reason, 'not recorded') END AS why
    FROM votes AS v LEFT JOIN flags AS f ON f.vote_id = v.vote_id
    WHERE NOT v.rated AND ($1::TIMESTAMP IS NULL OR v.voted_at >= $1::TIMESTAMP) AND ($2::TIMESTAMP IS NULL OR v.voted_at < $2::TIMESTAMP)
) AS unrated
GROUP BY why
ORDER BY 2 DESC, 1

-- name: voter_sizes
-- How many voters cast how many votes.
SELECT n, count(*)
FROM (SELECT count(*) AS n FROM votes AS v WHERE v.voter_id IS NOT NULL GROUP BY v.voter_id) AS sizes
GROUP BY n
ORDER BY n

-- name: busiest_voters
-- The $1 voters with most votes: votes, rated and flagged ones, ties and both bad, first and last vote.
SELECT
    c.voter_id, c.n, c.n_rated, coalesce(k.n, 0), c.n_even, c.first, c.last
FROM (
    SELECT
        v.voter_id, count(*) AS n, sum(CASE WHEN v.rated THEN 1 ELSE 0 END)::BIGINT AS n_rated,
        sum(CASE WHEN v.winner IN ('tie', 'both_bad') THEN 1 ELSE 0 END)::BIGINT AS n_even, min(v.voted_at) AS first, max(v.voted_at) AS last
    FROM votes AS v
    WHERE v.voter_id IS NOT NULL
    GROUP BY v.voter_id
    ORDER BY 2 DESC, 1
    LIMIT $1::BIGINT
) AS c
LEFT JOIN (
    SELECT w.voter_id, count(*) AS n FROM flags AS f JOIN votes AS w ON w.vote_id = f.vote_id GROUP BY w.voter_id
) AS k ON k.voter_id = c.voter_id
ORDER BY c.n DESC, c.voter_id

-- name: draws
-- Battles drawn here (not imported, no pair that its voter chose): their number, those with a known probability, and per policy.
SELECT b.pairing_policy, count(*), count(b.pairing_probability)
FROM battles AS b
WHERE b.pairing_policy NOT IN ('imported', 'chosen')
GROUP BY b.pairing_policy
ORDER BY 2 DESC, 1

-- name: draws_by_model
-- Of those battles, per model how often it stood on the left and on the right.
SELECT model, sum(l)::BIGINT, sum(r)::BIGINT
FROM (
    SELECT b.model_a AS model, 1 AS l, 0 AS r FROM battles AS b WHERE b.pairing_policy NOT IN ('imported', 'chosen')
    UNION ALL
    SELECT b.model_b, 0, 1 FROM battles AS b WHERE b.pairing_policy NOT IN ('imported', 'chosen')
) AS sides
GROUP BY model
ORDER BY model

-- name: votes_between
-- Cast from $1 and before $2: votes, rated ones, both bad, voters; and voters whose first vote that is.
SELECT
    count(*), coalesce(sum(CASE WHEN v.rated THEN 1 ELSE 0 END), 0)::BIGINT,
    coalesce(sum(CASE WHEN v.winner = 'both_bad' THEN 1 ELSE 0 END), 0)::BIGINT, count(DISTINCT v.voter_id),
    (
        SELECT count(*) FROM (
            SELECT w.voter_id FROM votes AS w WHERE w.voter_id IS NOT NULL
            GROUP BY w.voter_id
            HAVING min(w.voted_at) >= $1::TIMESTAMP AND min(w.voted_at) < $2::TIMESTAMP AND count(*) = count(w.voted_at)
        ) AS fresh
    )
FROM votes AS v
WHERE v.voted_at >= $1::TIMESTAMP AND v.voted_at < $2::TIMESTAMP

-- name: pairs_between
-- Battles fought here from $1 and before $2, per pair (in alphabetical order of bytes), and how many were voted on.
SELECT
    CASE WHEN b.model_a COLLATE "C" < b.model_b COLLATE "C" THEN b.model_a ELSE b.model_b END,
    CASE WHEN b.model_a COLLATE "C" < b.model_b COLLATE "C" THEN b.model_b ELSE b.model_a END, count(*), count(v.vote_id)
FROM battles AS b LEFT JOIN votes AS v ON v.battle_id = b.battle_id
WHERE b.created_at >= $1::TIMESTAMP AND b.created_at < $2::TIMESTAMP AND b.pairing_policy <> 'imported'
GROUP BY 1, 2
ORDER BY 3 DESC, 1, 2

-- name: spent_between
-- Per endpoint: answers asked for from $1 and before $2 in battles and chats, those that failed, dollars, answers without a price.
WITH asked AS (
    SELECT a.completion_id
    FROM answers AS a JOIN turns AS t ON t.battle_id = a.battle_id AND t.turn = a.turn AND t.attempt = a.attempt
    WHERE t.asked_at >= $1::TIMESTAMP AND t.asked_at < $2::TIMESTAMP
    UNION SELECT b.completion_a FROM battles AS b WHERE b.created_at >= $1::TIMESTAMP AND b.created_at < $2::TIMESTAMP
    UNION SELECT b.completion_b FROM battles AS b WHERE b.created_at >= $1::TIMESTAMP AND b.created_at < $2::TIMESTAMP
)
SELECT
    c.endpoint, count(*),
    sum(CASE WHEN c.status IN ('ok', 'truncated', 'refused') THEN 0 ELSE 1 END)::BIGINT,
    coalesce(sum(c.cost_usd), 0)::DOUBLE PRECISION,
    sum(CASE WHEN c.cost_usd IS NULL AND c.status IN ('ok', 'truncated', 'refused') THEN 1 ELSE 0 END)::BIGINT
FROM asked AS s JOIN completions AS c ON c.completion_id = s.completion_id
GROUP BY c.endpoint
ORDER BY 4 DESC, 2 DESC, 1

-- name: pair_count
SELECT count(*)
FROM votes AS v JOIN battles AS b ON b.battle_id = v.battle_id
WHERE (b.model_a = $1 AND b.model_b = $2) OR (b.model_a = $2 AND b.model_b = $1)
