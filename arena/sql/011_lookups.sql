-- A conversation's turns and answers by its id alone: DuckDB looks nothing up by the beginning of a key of several columns, but reads the
-- whole table, at every vote (.14 s of a million battles).
CREATE INDEX turns_battle ON turns (battle_id);
CREATE INDEX answers_battle ON answers (battle_id);
