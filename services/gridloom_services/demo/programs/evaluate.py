"""Command job 3: the chosen candidate on the held-out third; writes evaluation.json."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import fits
import numpy as np
from sklearn.metrics import confusion_matrix


def main() -> None:
    """Fit candidate number `argv[1]` on all training data and score it on data never seen."""
    number = int(sys.argv[1])
    with np.load("digits.npz") as data:
        estimator = fits.build(fits.candidates()[number]).fit(data["images"], data["labels"])
        predicted = estimator.predict(data["held_images"])
        truth = data["held_labels"]
    evaluation = {
        "candidate": number,
        "accuracy": float((predicted == truth).mean()),
        "held_out": len(truth),
        "confusion": confusion_matrix(truth, predicted).tolist(),
    }
    Path("evaluation.json").write_text(json.dumps(evaluation), encoding="utf-8")
    print(f"accuracy on {len(truth)} held-out digits: {evaluation['accuracy']:.4f}")  # noqa: T201


if __name__ == "__main__":
    main()
