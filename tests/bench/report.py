"""What the figures say: `python -m tests.bench.report`: a table, `results.json` and a plot."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any

from tests.bench.record import Figure, Record, machine, own_version, versions

ROOT = Path(__file__).resolve().parents[2]
PEERS = ("ray", "dask", "distributed", "parsl", "celery", "dramatiq", "redis", "numpy")
OWN = ("grpcio", "protobuf", "uvloop", "numpy", "cloudpickle")
# What is reached for, of those measures that have an aim.
AIMS: dict[str, tuple[str, float]] = {
    "start to first result": ("<=", 0.8),
    "lone call, p50": ("<=", 1.3),
    "lone call, p99": ("<=", 4.0),
    "10,000 calls one by one": (">=", 60_000),
    "map of 10,000": (">=", 1_000_000),
    "100 MiB array echoed": (">=", 250),
    "100 MiB there and back, not durable": (">=", 4_000),
    "100 MiB there and back, on disk": (">=", 250),
    "100 MiB put as from another host, on disk": (">=", 400),
    "100 MiB got as from another host": (">=", 400),
    "lone call beside a flood, p50": ("<=", 5.0),
    "lone call beside a flood, p99": ("<=", 25.0),
    "200 streams x 500": (">=", 30_000),
    "last stream / median": ("<=", 1.5),
    "client's memory, 100,000 queued": ("<=", 300),
    "platform's memory, 100,000 queued": ("<=", 100),
    "platform's memory, 1,000,000 queued": ("<=", 100),
    "jobs in batches of 1,000": (">=", 5_000),
    "an array of 100,000": ("<=", 2.0),
    "served, raw client: flood of 10,000": (">=", 20_000),
    "platform killed, restart to next result": ("<=", 2.0),
    "one worker killed, until as fast as before": ("<=", 1.0),
    "p99: amid pruning, of without": ("<=", 2.0),
    "idle, processor": ("<=", 0.5),
    "idle, memory": ("<=", 150),
    "hello on 4 ranks, beyond bare": ("<=", 0.12),
    "64 ranks, times bare": ("<=", 1.5),
    "warm call on 2 ranks": ("<=", 5.0),
    "ping-pong, latency, times bare": ("<=", 1.05),
    "ping-pong, bandwidth, times bare": (">=", 0.95),
}
# A machine that is busier than this with other things gives figures of the machine.
BUSY = 0.3


def summary(figures: list[Figure]) -> list[dict[str, Any]]:
    """One row a measure and contestant: median, spread, ratio to the best of the others."""
    values: dict[tuple[str, str, str], list[float]] = {}
    for figure in figures:
        if not figure.measure.startswith("done:"):
            key = (figure.measure, figure.unit, figure.contestant)
            values.setdefault(key, []).append(figure.value)
    medians = {key: statistics.median(found) for key, found in values.items()}
    return [
        {
            "measure": measure,
            "unit": unit,
            "contestant": contestant,
            "median": medians[measure, unit, contestant],
            "least": min(found),
            "most": max(found),
            "repetitions": len(found),
            "ratio": _ratio(medians, measure, unit, contestant),
        }
        for (measure, unit, contestant), found in values.items()
    ]


def _ratio(medians: dict[Any, float], measure: str, unit: str, contestant: str) -> float | None:
    """How many times better than the best other one; below 1: that one is better."""
    others = [
        value
        for (its, _, name), value in medians.items()
        if its == measure and _system(name) != _system(contestant) and value
    ]
    own = medians[measure, unit, contestant]
    if not others or not own:
        return None
    return min(others) / own if unit in {"s", "ms"} else own / max(others)


def _system(contestant: str) -> str:
    """What it is, without how it was set up."""
    return contestant.partition(",")[0]


def table(rows: list[dict[str, Any]]) -> str:
    """For people, and for RESULTS.md."""
    lines = [
        "| measure | who | median | least to most | x best other | aim |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for row in sorted(rows, key=_order(rows)):
        ratio = "" if row["ratio"] is None else f"{row['ratio']:.2f}"
        aim = AIMS.get(row["measure"].strip()) if row["contestant"] == "gridloom" else None
        lines.append(
            f"| {row['measure'].strip()} ({row['unit']}) | {row['contestant']} |"
            f" {_number(row['median'])} | {_number(row['least'])} to {_number(row['most'])} |"
            f" {ratio} | {f'{aim[0]} {aim[1]:,}' if aim else ''} |"
        )
    return "\n".join(lines)


def _order(rows: list[dict[str, Any]]) -> Any:
    measures = list(dict.fromkeys(row["measure"] for row in rows))
    return lambda row: (
        measures.index(row["measure"]),
        row["median"] if row["unit"] in {"s", "ms"} else -row["median"],
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def conditions(figures: list[Figure], python: str) -> dict[str, Any]:
    busy = sorted(figure.busy for figure in figures)
    middle = busy[len(busy) // 2] if busy else 0.0
    return {
        "machine": machine(),
        "gridloom": own_version(),
        "own": list(versions(sys.executable, OWN)),
        "peers": list(versions(python, PEERS)),
        "busy_processors": {"median": middle, "most": busy[-1] if busy else 0.0},
        "is_quiet": middle <= BUSY,
    }


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """A panel a measure; the longer bar is the better one."""
    import matplotlib as mpl

    mpl.use("agg")
    import matplotlib.pyplot as plt

    shared = [m for m in dict.fromkeys(r["measure"] for r in rows) if _takers(rows, m) > 1]
    figure, panels = plt.subplots(
        len(shared), 1, figsize=(8, 0.9 + 1.9 * len(shared)), squeeze=False, layout="constrained"
    )
    for panel, measure in zip(panels[:, 0], shared, strict=True):
        its = sorted((r for r in rows if r["measure"] == measure), key=_order(rows))[::-1]
        colours = ["#d62728" if _system(r["contestant"]) == "gridloom" else "#9aa5b1" for r in its]
        panel.barh([r["contestant"] for r in its], [r["median"] for r in its], color=colours)
        for place, row in enumerate(its):
            panel.plot([row["least"], row["most"]], [place, place], color="black", linewidth=1)
            panel.annotate(
                f" {_number(row['median'])}", (row["most"], place), va="center", fontsize=8
            )
        better = "less" if its[0]["unit"] in {"s", "ms"} else "more"
        panel.set_title(f"{measure.strip()}, {its[0]['unit']} ({better} is better)", fontsize=10)
        panel.set_xscale("log")
        panel.tick_params(labelsize=8)
        panel.spines[["top", "right"]].set_visible(False)
        panel.margins(x=0.15)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _takers(rows: list[dict[str, Any]], measure: str) -> int:
    return len({row["contestant"] for row in rows if row["measure"] == measure})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", default=sys.executable, help="the interpreter of the peers")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "bench")
    options = parser.parse_args()
    names = ("contest.jsonl", "resting.jsonl", "calls.jsonl", "mpi.jsonl")
    figures = [f for name in names for f in Record(options.out / name, fresh=False).figures()]
    rows = summary(figures)
    said = conditions(figures, options.python)
    (options.out / "results.json").write_text(
        json.dumps({"conditions": said, "results": rows}, indent=1) + "\n"
    )
    plot(rows, options.out / "results.png")
    print(table(rows))
    print(f"\n{said['machine']}; {', '.join([*said['own'], *said['peers']])}")
    busy = said["busy_processors"]
    quiet = "quiet" if said["is_quiet"] else "LOADED: the ratios count, not the figures"
    print(f"others kept {busy['median']} processors busy (at most {busy['most']}): {quiet}")
    print(f"{options.out}/results.json and results.png have the same")


if __name__ == "__main__":
    main()
