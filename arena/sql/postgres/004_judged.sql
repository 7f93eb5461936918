-- What a model said about a prompt: whether it belongs to a category of results/categories.yaml that asks (arena label).
CREATE TABLE judged (
    prompt    TEXT NOT NULL, -- md5 of what the user wrote, in lower case
    category  TEXT NOT NULL,
    belongs   BOOLEAN NOT NULL,
    judge     TEXT NOT NULL, -- endpoint id
    judged_at TIMESTAMP NOT NULL,
    PRIMARY KEY (prompt, category)
);

-- No user_text here: what needs it is asked through arena/lens.py.
