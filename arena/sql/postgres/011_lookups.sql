-- PostgreSQL looks up by the beginning of the primary keys, which is battle_id.
SELECT 1;
