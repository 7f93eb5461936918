"""The terms that a voter accepts once before the first battle, where results/arena.yaml states some.

    terms: default          # the short text that ships: arena/views/terms.md
    terms: our-terms.md     # Markdown beside arena.yaml

A version is the hash of the text: whoever accepted an earlier one is asked again. Acceptances are rows of the store, under the voter's id.
"""

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from arena.errors import ArenaError
from arena.settings import Settings
from arena.store import Store
from arena.votes import now
from arena.writer import utc

SHIPPED = Path(__file__).parent / "views" / "terms.md"


@dataclass(frozen=True)
class Terms:
    """A text (Markdown) and the hash that names it."""

    text: str

    @property
    def version(self) -> str:
        """Sixteen hex digits."""
        return sha256(self.text.encode()).hexdigest()[:16]


def terms_of(settings: Settings, results: Path) -> Terms | None:
    """The terms in force; None where none are stated. Raises ArenaError for a file that cannot be read."""
    if settings.terms is None:
        return None
    path = SHIPPED if settings.terms == "default" else results / settings.terms
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ArenaError(f"{results / 'arena.yaml'}: terms: {path} cannot be read ({error}); write 'default' or a Markdown file") from None
    if not text:
        raise ArenaError(f"{results / 'arena.yaml'}: terms: {path} is empty; write 'default' or a Markdown file")
    return Terms(text)


def accepted(store: Store, voter_id: str, terms: Terms) -> bool:
    """Whether this voter accepted this text."""
    return any(version == terms.version for version, _ in store.rows("acceptances_of", voter_id))


def accept(store: Store, voter_id: str, terms: Terms) -> None:
    """Keep that the voter accepts this text."""
    store.run(("insert_acceptance", [voter_id, terms.version, utc(now())]))
