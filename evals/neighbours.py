"""The most similar texts, by TF-IDF over words: the index behind k-nearest few-shot examples.

    Neighbours(questions).nearest("How far is the moon?", 5)   ->   places in `questions`, nearest first

Term frequency is damped (1 + log), inverse document frequency smoothed (log((1 + n) / (1 + df)) + 1), rows have length one, so that the
similarity is a cosine (Salton and Buckley 1988). Sparse: 10,000 questions take a second and a few megabytes.
"""

import re
from collections import Counter
from collections.abc import Sequence
from math import log

_WORD = re.compile(r"\w+")


class Neighbours:
    """An index over `texts`."""

    def __init__(self, texts: Sequence[str]) -> None:
        import numpy as np
        from scipy.sparse import csr_matrix

        counts = [Counter(_words(text)) for text in texts]
        self._places = {word: place for place, word in enumerate(dict.fromkeys(word for count in counts for word in count))}
        frequency = Counter(word for count in counts for word in count)
        self._idf = {word: log((1 + len(texts)) / (1 + found)) + 1 for word, found in frequency.items()}
        rows, columns, values = [], [], []
        for row, count in enumerate(counts):
            for word, weight in self._weights(count).items():
                rows.append(row)
                columns.append(self._places[word])
                values.append(weight)
        self._matrix = csr_matrix((values, (rows, columns)), shape=(len(texts), max(len(self._places), 1)), dtype=np.float64)

    def nearest(self, text: str, many: int) -> list[int]:
        """Places of the `many` most similar texts, nearest first; equals in their own order."""
        import numpy as np

        wanted = np.zeros(self._matrix.shape[1])
        for word, weight in self._weights(Counter(_words(text))).items():
            wanted[self._places[word]] = weight
        similarity = self._matrix @ wanted
        return [int(place) for place in np.argsort(-similarity, kind="stable")[:many]]

    def _weights(self, count: Counter[str]) -> dict[str, float]:
        raw = {word: (1 + log(times)) * self._idf[word] for word, times in count.items() if word in self._idf}
        length = sum(weight * weight for weight in raw.values()) ** 0.5
        return {word: weight / length for word, weight in raw.items()} if length else {}


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())
