"""Prompts that ask nearly the same: MinHash over their shingles (Broder 1997), so that a reworded prompt is not on both sides of a split.

    clusters = PromptClusters()
    code = clusters.add("How do I bake bread?")        # once for each vote, any number of them
    clusters.keys()[code]                              # equal for prompts that resemble each other

A prompt is its characters in fives, lower case, spaces and punctuation evened out. Two are candidates when one of 16 bands of 4 hashes
agrees, and one cluster when at least .7 of the 64 hashes do (the estimate of the Jaccard similarity; standard error .06). Clusters are
chains: A like B and B like C puts all three together.
"""

import hashlib
import re

import numpy as np
import numpy.typing as npt

_HASHES, _BANDS, _WIDTH = 64, 16, 5
_ALIKE = 0.7
_BATCH = 2000
_SPACE = re.compile(r"[\W_]+")


class PromptClusters:
    """Prompts by code; texts are not kept, only their signatures (256 bytes each)."""

    def __init__(self) -> None:
        rng = np.random.default_rng(20261124)
        # x -> a·x + b modulo 2^32 with odd a permutes the hashes of shingles, which are mixed well before.
        self._a = rng.integers(0, 2**31, _HASHES, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
        self._b = rng.integers(0, 2**32, _HASHES, dtype=np.uint32)
        self._codes: dict[bytes, int] = {}
        self._waiting: list[bytes] = []
        self._signatures: list[npt.NDArray[np.uint32]] = []

    def __len__(self) -> int:
        return len(self._codes)

    def add(self, text: str) -> int:
        """The code of a prompt; case, spacing and punctuation do not make another one."""
        plain = _SPACE.sub(" ", text.lower()).strip() or text
        digest = hashlib.blake2b(plain.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        fresh = len(self._codes)
        code = self._codes.setdefault(digest, fresh)
        if code == fresh:
            self._waiting.append(plain.encode("utf-8", "surrogatepass").ljust(_WIDTH))
            if len(self._waiting) == _BATCH:
                self._flush()
        return code

    def keys(self) -> npt.NDArray[np.uint64]:
        """Of each code its cluster's key, a number that depends on the texts alone and not on their order: the least digest in it."""
        self._flush()
        digests = np.frombuffer(b"".join(self._codes), dtype=">u8")[::2].astype(np.uint64)
        labels = np.zeros(len(digests), dtype=np.int64)
        if self._signatures:
            # In the order of the digests: who is compared with whom must not depend on who came first.
            order = np.argsort(digests, kind="stable")
            labels[order] = _linked(np.concatenate(self._signatures)[order])
        least = np.full(labels.max(initial=-1) + 1, np.iinfo(np.uint64).max, dtype=np.uint64)
        np.minimum.at(least, labels, digests)
        return least[labels]

    def _flush(self) -> None:
        if not self._waiting:
            return
        lengths = np.array([len(text) for text in self._waiting])
        characters = np.frombuffer(b"".join(self._waiting), dtype=np.uint8).astype(np.uint64)
        shingles = np.zeros(len(characters) - _WIDTH + 1, dtype=np.uint64)
        for place in range(_WIDTH):
            shingles = (shingles << np.uint64(8)) | characters[place : len(characters) - _WIDTH + 1 + place]
        # splitmix64's finaliser; the upper half is the hash.
        shingles = (shingles ^ (shingles >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        shingles = (shingles ^ (shingles >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed = (shingles >> np.uint64(32)).astype(np.uint32)
        ends = np.cumsum(lengths)
        starts = ends - lengths
        # Shingles that run from one prompt into the next belong to neither.
        bounds = np.column_stack([starts, ends - _WIDTH + 1]).ravel()
        signature = np.empty((len(lengths), _HASHES), dtype=np.uint32)
        mixed = np.append(mixed, np.uint32(0))
        for number in range(_HASHES):
            signature[:, number] = np.minimum.reduceat(mixed * self._a[number] + self._b[number], bounds)[::2]
        self._signatures.append(signature)
        self._waiting = []


def _linked(signatures: npt.NDArray[np.uint32]) -> npt.NDArray[np.int64]:
    """A label for each signature; equal where candidates of a band agree, or a chain of such."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    n, rows = len(signatures), _HASHES // _BANDS
    left, right = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
    for band in range(_BANDS):
        part = np.zeros(n, dtype=np.uint64)
        for row in range(band * rows, (band + 1) * rows):
            part = (part ^ signatures[:, row]) * np.uint64(0x9E3779B97F4A7C15)
            part ^= part >> np.uint64(29)
        _, first, inverse = np.unique(part, return_index=True, return_inverse=True)
        others = np.flatnonzero(first[inverse] != np.arange(n))
        heads = first[inverse[others]]
        for start in range(0, len(others), 100_000):
            one, two = heads[start : start + 100_000], others[start : start + 100_000]
            alike = (signatures[one] == signatures[two]).mean(axis=1) >= _ALIKE
            left.append(one[alike])
            right.append(two[alike])
    one, two = np.concatenate(left), np.concatenate(right)
    graph = coo_matrix((np.ones(len(one), dtype=np.int8), (one, two)), shape=(n, n))
    labels: npt.NDArray[np.int64] = connected_components(graph, directed=False)[1].astype(np.int64)
    return labels
