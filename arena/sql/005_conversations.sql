-- Battles from their first prompt on, so that one outlives the process it was fought in. A row of battles is written when a battle starts,
-- without answers; messages and the two answers are those of its last turn. Whoever deletes a battle deletes its rows here.
ALTER TABLE votes ADD COLUMN unrated_reason TEXT; -- why a vote was unrated when it was cast; NULL: it was rated, or nobody said why

-- What the voter wrote.
CREATE TABLE turns (
    battle_id TEXT NOT NULL, -- or the chat_id of chats
    turn      INTEGER NOT NULL CHECK (turn > 0),
    attempt   INTEGER NOT NULL CHECK (attempt >= 0), -- 0, then one more each time the answers were asked for anew
    asked     TEXT NOT NULL,
    asked_at  TIMESTAMP NOT NULL,
    PRIMARY KEY (battle_id, turn, attempt)
);

-- Every answer that was given, failed ones and those asked for anew included.
CREATE TABLE answers (
    battle_id     TEXT NOT NULL,
    turn          INTEGER NOT NULL,
    attempt       INTEGER NOT NULL,
    side          TEXT NOT NULL CHECK (side IN ('a', 'b')),
    completion_id TEXT NOT NULL, -- of completions
    PRIMARY KEY (battle_id, turn, attempt, side)
);

-- A chat with one model, named: there is nothing to vote on.
CREATE TABLE chats (
    chat_id    TEXT PRIMARY KEY,
    created_at TIMESTAMP NOT NULL,
    model      TEXT NOT NULL CHECK (model <> ''),
    voter_id   TEXT NOT NULL
);

-- Battles that their voter made readable to anybody who has the token.
CREATE TABLE shares (
    token     TEXT PRIMARY KEY,
    battle_id TEXT NOT NULL UNIQUE,
    shared_at TIMESTAMP NOT NULL
);
