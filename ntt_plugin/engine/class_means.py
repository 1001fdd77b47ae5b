"""Estimated class means, and which candidates would move a prototype towards them.

A prototype is the mean of its class's references; ideally it equals the mean of all objects of the
class. Unlabelled candidates of many images estimate that mean.
"""

from __future__ import annotations

import numpy as np

from .typing import Array

# Rounds of reassignment; more change almost nothing.
_ROUNDS = 3


class ClassMeans:
    """Candidates grouped by class, updated as the bank learns some of them.

    Attributes:
        labels: class whose mean is most similar to each candidate, int (n,).
        closed: reduction of the weighted sum of squared distances between prototypes and class
            means if the candidate became a reference, as a share of the initial sum, float (n,);
            negative if it would increase the distance.
    """

    def __init__(
        self, features: Array, guesses: Array, weights: Array, sums: Array, shots: Array
    ) -> None:
        """Group the candidates by spherical k-means from an initial assignment.

        This corrects objects that a bank of few references misclassifies. References stay in their
        class.

        Args:
            features: candidate features, unit-length, float (n, C).
            guesses: initial class of each candidate, int (n,).
            weights: weight of each candidate, at least 0, float (n,).
            sums: sum of the unit-length reference features of each class, float (k, C).
            shots: number of references of each class, int (k,).
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
        """Mean of candidates and references (k, C) and total candidate weight (k,) per class."""
        masses = np.bincount(self.labels, weights, minlength=len(self._shots))
        totals = self._sums.copy()
        np.add.at(totals, self.labels, weights[:, None] * self._features)
        return totals / (masses + self._shots)[:, None], masses

    def _prototypes(self) -> Array:
        return self._sums / self._shots[:, None]

    def _close(self, label: int) -> None:
        """Recompute ``closed`` for the candidates of a class."""
        members = np.flatnonzero(self.labels == label)
        centre, total, shots = self._centres[label], self._sums[label], self._shots[label]
        now = ((centre - total / shots) ** 2).sum()
        taught = (total + self._features[members]) / (shots + 1)
        then = ((centre - taught) ** 2).sum(axis=1)
        self.closed[members] = (now - then) * self._masses[label] / self._all
