"""What can go wrong with votes.

    BakeoffError
    └── ArenaError
        ├── StoreInUse        another process holds the database
        ├── UnknownBattle     a vote for a battle that was never served
        ├── UnknownVoter      nobody of this id was here
        ├── VotesFileError    a votes file that does not say what it must: names file, line, value
        ├── NothingToRate     no vote, or none that makes two models comparable
        └── ExportRefused     a dataset that would overwrite another, or hold nothing

Each message is one line and names the remedy.
"""

from serving.errors import BakeoffError


class ArenaError(BakeoffError):
    """Root of what `arena` raises."""


class StoreInUse(ArenaError):
    """Another process holds the database file; DuckDB lets no second one even read it."""


class UnknownBattle(ArenaError):
    """A vote names a battle that the store does not hold."""


class UnknownVoter(ArenaError):
    """Nobody of this id was shown a battle or voted."""


class VotesFileError(ArenaError):
    """A votes file with a missing column, an unknown label, a model against itself: names file, line, value and remedy."""


class NothingToRate(ArenaError):
    """There is no vote to rate models by."""


class ExportRefused(ArenaError):
    """The dataset was not written: the folder holds something, or no vote qualified."""
