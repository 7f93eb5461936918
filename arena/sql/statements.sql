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

-- name: insert_votes
INSERT INTO votes (vote_id, battle_id, vote_order, voter_id, winner, reasons, voted_at, dwell_s, rated, source, unrated_reason)
SELECT
    unnest($1::TEXT[]), unnest($2::TEXT[]), (SELECT coalesce(max(vote_order), 0) FROM votes) + unnest($3::BIGINT[]),
    unnest($4::TEXT[]), unnest($5::TEXT[]), unnest($6::TEXT[]), unnest($7::TIMESTAMP[]),
    unnest($8::DOUBLE PRECISION[]), unnest($9::BOOLEAN[]), unnest($10::TEXT[]), unnest($11::TEXT[])
ON CONFLICT DO NOTHING
RETURNING vote_id

-- name: insert_styles
INSERT INTO styles (completion_id, tokens, headers, lists, bold, latency_s)
SELECT completion_id, word_count(content), header_count(content), list_count(content), bold_count(content), latency_s
FROM (SELECT unnest($1::TEXT[]) AS completion_id, unnest($2::DOUBLE PRECISION[]) AS latency_s, answer_text(unnest($3::TEXT[])) AS content)
ON CONFLICT DO NOTHING

-- name: insert_labels
-- The labels of the votes in $1 that have no number yet.
INSERT INTO labels (kind, label, code)
WITH written AS (
    SELECT b.model_a, b.model_b, v.voter_id, prompt_label(b.prompt_id, b.messages) AS prompt
    FROM votes AS v JOIN battles AS b ON b.battle_id = v.battle_id
    WHERE v.vote_id IN (SELECT unnest($1::TEXT[]))
), named AS (
    SELECT 'model' AS kind, model_a AS label FROM written
    UNION SELECT 'model', model_b FROM written
    UNION SELECT 'voter', voter_id FROM written WHERE voter_id IS NOT NULL
    UNION SELECT 'prompt', prompt FROM written WHERE prompt IS NOT NULL
)
SELECT
    n.kind, n.label,
    (SELECT coalesce(max(k.code), -1) FROM labels AS k WHERE k.kind = n.kind) + row_number() OVER (PARTITION BY n.kind ORDER BY n.label)
FROM named AS n
WHERE NOT EXISTS (SELECT 1 FROM labels AS known WHERE known.kind = n.kind AND known.label = n.label)

-- name: insert_ballots
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
WHERE v.vote_id IN (SELECT unnest($1::TEXT[]))
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
ORDER BY model_a, model_b, cluster

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
ORDER BY b.created_at DESC, b.battle_id

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
    coalesce(length((a.document::JSON) ->> 'text') + length((c.document::JSON) ->> 'text'), 0) AS characters,
    (a.document::JSON) ->> 'text' AS text_a, (c.document::JSON) ->> 'text' AS text_b, b.messages
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

-- name: last_turn
SELECT t.turn, t.attempt, a.side, a.completion_id
FROM turns AS t
LEFT JOIN answers AS a ON a.battle_id = t.battle_id AND a.turn = t.turn AND a.attempt = t.attempt
WHERE t.battle_id = $1
ORDER BY t.turn DESC, t.attempt DESC
LIMIT 2

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
