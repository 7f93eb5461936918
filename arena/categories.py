"""Boards of some battles only: by language, length, code, maths, turns, by what is creative or hard; by rules of your own.

    arena leaderboard --category code
    arena leaderboard --category finance        # results/categories.yaml:  finance: "\\b(bond|stock|dividend)s?\\b"
    arena leaderboard --category expert         # there:  expert: {ask: "Does it need an expert?"}, told by a model (arena/labelling.py)

The rules are sql/categories.sql, applied when they are asked for, so that a better rule holds for old votes too. Your own ones are regular
expressions (RE2, upper and lower case alike) on what the users wrote.
"""

import re
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from arena.errors import ArenaError
from serving.errors import did_you_mean

_SQL = Path(__file__).parent / "sql" / "categories.sql"
_BATTLES = """
    SELECT vote_order FROM (
        SELECT
            v.vote_order,
            lower(user_text(b.messages)) AS content,
            len(list_filter(m.said, lambda message: json_extract_string(message, '$.role') = 'user')) AS turns
        FROM votes AS v JOIN battles AS b ON b.battle_id = v.battle_id,
        LATERAL (SELECT json_extract(b.messages, '$[*]') AS said) AS m
        WHERE b.messages <> '[]'
    ) WHERE {condition}
"""


class Rule(NamedTuple):
    """A query for the vote_order of the votes in a category, and its parameters from $2 on."""

    sql: str
    parameters: tuple[Any, ...] = ()


@cache
def rules() -> dict[str, str]:
    """The conditions of sql/categories.sql by name."""
    parts = re.split(r"^-- name: ([\w-]+)\n", _SQL.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], (part.strip() for part in parts[2::2]), strict=True))


def own_rules(results: Path) -> dict[str, str]:
    """The regular expressions of results/categories.yaml by name; none where there is no such file. Raises ArenaError."""
    return {name: value for name, value in _own(results).items() if isinstance(value, str)}


def questions(results: Path) -> dict[str, str]:
    """The questions of results/categories.yaml (`NAME: {ask: …}`) by name: what a model is to tell. Raises ArenaError."""
    return {name: value["ask"] for name, value in _own(results).items() if not isinstance(value, str)}


def _own(results: Path) -> dict[str, Any]:
    import yaml

    path = results / "categories.yaml"
    if not path.exists():
        return {}
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ArenaError(f"{path}: not YAML: {str(error).splitlines()[0]}; write NAME: regular expression") from None
    if not isinstance(found, dict):
        raise ArenaError(f"{path}: holds no names; write NAME: regular expression")
    for name, value in found.items():
        asks = isinstance(value, dict) and list(value) == ["ask"] and isinstance(value["ask"], str) and value["ask"].strip()
        if not isinstance(name, str) or not (asks or (isinstance(value, str) and value)):
            raise ArenaError(f'{path}: {name}: \'{value}\' is no regular expression; write NAME: "expression", or NAME: {{ask: "Does …?"}}')
        if name in rules():
            raise ArenaError(f"{path}: {name}: is a category already; give yours another name")
    return found


def rule(category: str, results: Path) -> Rule:
    """The rule of a category, ours or the user's own. Raises ArenaError at a name that is neither."""
    own = own_rules(results)
    if category in own:
        return Rule(_BATTLES.format(condition="regexp_matches(content, $2, 'i')"), (own[category],))
    asked = questions(results)
    if category in asked:
        return Rule(
            _BATTLES.format(condition="md5(content) IN (SELECT j.prompt FROM judged AS j WHERE j.category = $2 AND j.belongs)"), (category,)
        )
    if category not in rules():
        names = [*rules(), *own, *asked]
        raise ArenaError(f"--category {category}: there is no such category.{did_you_mean(category, names)} Known: {', '.join(names)}")
    return Rule(_BATTLES.format(condition=f"({rules()[category]})"))
