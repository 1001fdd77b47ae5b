"""Where the objects of each class lie, and which candidates would take its prototype there.

A prototype is the mean of its class's references, so it is at its best where the mean of all
objects of the class is. The candidates of many images tell where, before anybody names them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

# More of them change next to nothing.
_ROUNDS = 3


class ClassMeans:
    """Candidates grouped by class, and a bank that learns one of them after the other.

    Attributes:
        labels: the class whose objects each candidate is most like, int (n,).
        closed: of the squared distances between all prototypes and the means of their classes,
            each counted by how much the candidates of the class weigh, the share of all that was
            there at the start that a candidate would close as a reference of its class; below 0
            where it would lead away; float (n,).
    """

    def __init__(
        self, features: Array, guesses: Array, weights: Array, sums: Array, shots: Array
    ) -> None:
        """Group the candidates.

        From the guesses the means of the classes are made, from the means better guesses, and so
        on: objects that a bank of few references mistakes are found by their likes. References
        are members of their class whatever they are like.

        Args:
            features: of the candidates, unit-length, float (n, C).
            guesses: the class that each is taken for, int (n,).
            weights: how much each tells of its class, at least 0, float (n,).
            sums: of each class the sum of its references' unit-length features, float (k, C).
            shots: of each class the number of references, int (k,).
        """
        self._features = features.astype(np.float64)
        self._sums, self._shots = sums.astype(np.float64), shots.astype(np.float64)
        self.labels = guesses
        for _ in range(_ROUNDS):
            means, _ = self._means(weights)
            lengths = np.linalg.norm(means, axis=1, keepdims=True).clip(min=1e-12)
            self.labels = (self._features @ (means / lengths).T).argmax(axis=1)
        self._centres, self._masses = self._means(weights)
        distances = ((self._centres - self._prototypes()) ** 2).sum(axis=1)
        self._all = max(float(self._masses @ distances), 1e-12)
        self.closed = np.zeros(len(features))
        for label in np.unique(self.labels).tolist():
            self._close(label)

    def learn(self, candidate: int) -> None:
        """Count a candidate as a reference of its class from now on."""
        label = int(self.labels[candidate])
        self._sums[label] += self._features[candidate]
        self._shots[label] += 1
        self._close(label)

    def _means(self, weights: Array) -> tuple[Array, Array]:
        """Of each class the mean of candidates and references, and what its candidates weigh."""
        masses = np.bincount(self.labels, weights, minlength=len(self._shots))
        totals = self._sums.copy()
        np.add.at(totals, self.labels, weights[:, None] * self._features)
        return totals / (masses + self._shots)[:, None], masses

    def _prototypes(self) -> Array:
        return self._sums / self._shots[:, None]

    def _close(self, label: int) -> None:
        """Compute anew what the candidates of a class would close."""
        members = np.flatnonzero(self.labels == label)
        centre, total, shots = self._centres[label], self._sums[label], self._shots[label]
        now = ((centre - total / shots) ** 2).sum()
        taught = (total + self._features[members]) / (shots + 1)
        then = ((centre - taught) ** 2).sum(axis=1)
        self.closed[members] = (now - then) * self._masses[label] / self._all
