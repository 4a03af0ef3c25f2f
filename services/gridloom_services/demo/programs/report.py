"""Command job 4: the picture of the study, from study.json, serial.json and evaluation.json.

Writes report.png: the grid of support vector machines, who worked when, and the confusion matrix.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import fits
import matplotlib as mpl

mpl.use("Agg")  # before pyplot: there is no screen in a job

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Patch, Rectangle

INK, QUIET = "#1f2933", "#7b8794"
_DARK = 0.85  # above this share of the colours, ink must be white
COLOURS = {"svm": "#2f6f9f", "neighbours": "#e0913a", "linear": "#5b9a68"}
NAMES = {"svm": "support vectors", "neighbours": "neighbours", "linear": "linear"}


def read(name: str) -> dict[str, Any]:
    """One of the files that earlier jobs wrote."""
    content: dict[str, Any] = json.loads(Path(name).read_text(encoding="utf-8"))
    return content


def draw_grid(axes: Any, scores: list[float], chosen: int) -> None:
    """Cross-validated accuracy of the support vector machines over C and gamma."""
    grid = [c for c in fits.candidates() if c["model"] == "svm"]
    costs = sorted({c["C"] for c in grid})
    gammas = sorted({c["gamma"] for c in grid})
    values = np.array(scores[: len(grid)]).reshape(len(costs), len(gammas))
    axes.imshow(values, cmap="Blues", vmin=0.6, vmax=1.0, origin="lower", aspect="auto")
    for row in range(len(costs)):
        for column in range(len(gammas)):
            ink = "white" if values[row, column] > _DARK else INK
            text = f"{100 * values[row, column]:.1f}"
            axes.text(column, row, text, ha="center", va="center", color=ink, fontsize=8.5)
    if chosen < len(grid):
        place = (chosen % len(gammas) - 0.5, chosen // len(gammas) - 0.5)
        axes.add_patch(Rectangle(place, 1, 1, fill=False, edgecolor="#c8442e", linewidth=2.2))
    axes.set_xticks(range(len(gammas)), [f"{g:g}" for g in gammas])
    axes.set_yticks(range(len(costs)), [f"{c:g}" for c in costs])
    axes.set_xlabel("gamma")
    axes.set_ylabel("C")
    axes.set_title("Cross-validated accuracy in %, the chosen one framed", loc="left")


def draw_timeline(axes: Any, study: dict[str, Any], serial: dict[str, Any]) -> None:
    """One bar a fit, one row a worker process, and the serial run beneath on the same scale."""
    rows = {p: i for i, p in enumerate(sorted({f["process"] for f in study["fits"]}))}
    for done in (study["fits"], serial["fits"]):
        zero = min(f["started"] for f in done)
        for one in done:
            lane = len(rows) - rows[one["process"]] if done is study["fits"] else 0
            colour = COLOURS[fits.candidates()[one["candidate"]]["model"]]
            span = (one["started"] - zero, one["ended"] - one["started"])
            axes.broken_barh([span], (lane - 0.38, 0.76), color=colour, lw=0.3, ec="white")
    labels = ["one process", *(f"worker {len(rows) - i}" for i in range(len(rows)))]
    axes.set_yticks(range(len(labels)), labels)
    axes.set_xlabel("seconds since the first fit began")
    speedup = serial["wall_s"] / study["wall_s"]
    axes.set_title(
        f"{len(study['fits'])} fits: {study['wall_s']:.1f} s on {len(rows)} workers,"
        f" {serial['wall_s']:.1f} s"
        f" in one process (speedup {speedup:.2f})",
        loc="left",
    )
    handles = [Patch(color=colour, label=NAMES[name]) for name, colour in COLOURS.items()]
    axes.legend(handles=handles, frameon=False, loc="lower right", ncols=3, fontsize=8.5)
    axes.set_ylim(-1.1, len(labels) - 0.5)
    axes.set_xlim(left=0)


def draw_confusion(axes: Any, evaluation: dict[str, Any]) -> None:
    """What the held-out digits were taken for."""
    matrix = np.array(evaluation["confusion"])
    axes.imshow(np.where(np.eye(10), np.nan, matrix), cmap="Reds", vmin=0, vmax=6)
    for row in range(10):
        for column in range(10):
            if matrix[row, column]:
                ink = QUIET if row == column else INK
                text = str(matrix[row, column])
                axes.text(column, row, text, ha="center", va="center", color=ink, fontsize=8.5)
    axes.set_xticks(range(10))
    axes.set_yticks(range(10))
    axes.set_xlabel("taken for")
    axes.set_ylabel("digit")
    axes.set_title(
        f"{100 * evaluation['accuracy']:.1f} % of {evaluation['held_out']} digits never seen"
        " are read right",
        loc="left",
    )


def main() -> None:
    """Draw the three pictures on one sheet."""
    study, serial, evaluation = read("study.json"), read("serial.json"), read("evaluation.json")
    plt.rcParams.update({"axes.titlesize": 10.5, "axes.titlecolor": INK, "text.color": INK})
    plt.rcParams.update({"axes.spines.top": False, "axes.spines.right": False})
    figure = plt.figure(figsize=(12, 7), dpi=130, layout="constrained")
    places = figure.add_gridspec(2, 2, height_ratios=[1.35, 1], width_ratios=[1.35, 1])
    draw_grid(figure.add_subplot(places[0, 0]), fits.mean_scores(study["fits"]), study["chosen"])
    draw_confusion(figure.add_subplot(places[0, 1]), evaluation)
    draw_timeline(figure.add_subplot(places[1, :]), study, serial)
    figure.savefig("report.png")
    print("report.png written")  # noqa: T201


if __name__ == "__main__":
    main()
