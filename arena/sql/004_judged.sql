-- What a model said about a prompt: whether it belongs to a category of results/categories.yaml that asks (arena label).
CREATE TABLE judged (
    prompt    TEXT NOT NULL, -- md5 of what the user wrote, in lower case
    category  TEXT NOT NULL,
    belongs   BOOLEAN NOT NULL,
    judge     TEXT NOT NULL, -- endpoint id
    judged_at TIMESTAMP NOT NULL,
    PRIMARY KEY (prompt, category)
);

-- What the users of a battle wrote, in their order.
CREATE MACRO user_text(messages) AS array_to_string(list_transform(
    list_filter(json_extract(messages, '$[*]'), lambda message: json_extract_string(message, '$.role') = 'user'),
    lambda message: json_extract_string(message, '$.content')
), chr(10));
