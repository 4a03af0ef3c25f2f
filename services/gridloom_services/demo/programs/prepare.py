"""Command job 1: split the 1,797 handwritten digits that ship with scikit-learn; writes digits.npz.

A third is held out, stratified by digit, and seen by nothing before the last job.
"""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split


def main() -> None:
    """Write images and labels of both parts."""
    digits = load_digits()
    images, held_images, labels, held_labels = train_test_split(
        digits.data, digits.target, test_size=1 / 3, stratify=digits.target, random_state=20
    )
    np.savez(
        "digits.npz",
        images=images,
        labels=labels,
        held_images=held_images,
        held_labels=held_labels,
    )
    print(f"{len(labels)} digits to learn from, {len(held_labels)} held out")  # noqa: T201


if __name__ == "__main__":
    main()
