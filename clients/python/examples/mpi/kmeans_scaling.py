"""How k-means on the digits scales: with fixed work, and with work that grows with the ranks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gridloom
from kmeans import kmeans

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gridloom.studies.study import ScalingStudy


def run(
    client: gridloom.Client, widths: Sequence[int] = (1, 2), repeats: int = 2
) -> list[ScalingStudy]:
    """Strong scaling of 20 rounds, and weak scaling with 10 rounds a rank."""
    return [
        client.scaling_study(kmeans.s(10, 20), widths, repeats=repeats),
        client.scaling_study(
            lambda ranks: kmeans.s(10, 10 * ranks), widths, mode="weak", repeats=repeats
        ),
    ]


if __name__ == "__main__":
    for study in run(gridloom.connect(), repeats=5):
        print(study)
        print(*study.save(), sep="\n")
