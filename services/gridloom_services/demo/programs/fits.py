"""The work of the study: candidates, folds, and one fit. Imports nothing of Gridloom.

The serial program and the worker pool run exactly these functions, so that their times compare and
their scores must be equal.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

FOLDS = 5
SEED = 20
# Data of this process, set once by `use`: (images, labels) of the training part.
_DATA: dict[str, np.ndarray[Any, Any]] = {}


def candidates() -> list[dict[str, Any]]:
    """All settings under study: 36 support vector machines, 8 neighbour and 6 linear models."""
    svm = [
        {"model": "svm", "C": c, "gamma": gamma}
        for c in (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
        for gamma in (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03)
    ]
    neighbours = [
        {"model": "neighbours", "k": k, "weights": weights}
        for k in (1, 3, 5, 9)
        for weights in ("uniform", "distance")
    ]
    linear = [{"model": "linear", "C": c} for c in (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)]
    return svm + neighbours + linear


def tasks() -> list[tuple[int, int]]:
    """Every fit of the study: (number of the candidate, fold)."""
    return [(number, fold) for number in range(len(candidates())) for fold in range(FOLDS)]


def use(images: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]) -> None:
    """Keep the training data in this process.

    Args:
        images: float64 of shape (samples, 64), grey values from 0 to 16.
        labels: int64 of shape (samples,), the digits 0 to 9.
    """
    _DATA.update(images=images, labels=labels)
    build(candidates()[0])  # the library's import is paid here, not by the first fit


def build(candidate: Mapping[str, Any]) -> Any:
    """The scikit-learn estimator of a candidate."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    if candidate["model"] == "svm":
        return SVC(C=candidate["C"], gamma=candidate["gamma"])
    if candidate["model"] == "neighbours":
        return KNeighborsClassifier(candidate["k"], weights=candidate["weights"])
    return make_pipeline(StandardScaler(), LogisticRegression(C=candidate["C"], max_iter=2000))


def fold_of(labels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The fold of each sample, int64 of shape (samples,): stratified, the same in every process."""
    order = np.random.default_rng(SEED).permutation(len(labels))
    folds = np.empty(len(labels), dtype=np.int64)
    for digit in range(10):
        members = order[labels[order] == digit]
        folds[members] = np.arange(len(members)) % FOLDS
    return folds


def fit(number: int, fold: int) -> dict[str, Any]:
    """Fit one candidate on four folds and score it on the fifth.

    Returns:
        The accuracy from 0 to 1, the process that did it, when, in seconds since the epoch, and
        the seconds for which it had a processor.
    """
    started, processor = time.time(), time.process_time()
    images, labels = _DATA["images"], _DATA["labels"]
    held_out = fold_of(labels) == fold
    estimator = build(candidates()[number]).fit(images[~held_out], labels[~held_out])
    score = float(estimator.score(images[held_out], labels[held_out]))
    return {
        "candidate": number,
        "fold": fold,
        "score": score,
        "process": os.getpid(),
        "started": started,
        "ended": time.time(),
        "processor_s": time.process_time() - processor,
    }


def computing(fits: list[dict[str, Any]]) -> tuple[float, float]:
    """How long fits were under way, and for how long of that they had a processor, in seconds."""
    wall = sum(one["ended"] - one["started"] for one in fits)
    return wall, sum(one["processor_s"] for one in fits)


def mean_scores(fits: list[dict[str, Any]]) -> list[float]:
    """Each candidate's mean accuracy over its folds, in the order of `candidates()`."""
    scores: list[list[float]] = [[] for _ in candidates()]
    for one in fits:
        scores[one["candidate"]].append(one["score"])
    return [float(np.mean(folds)) for folds in scores]
