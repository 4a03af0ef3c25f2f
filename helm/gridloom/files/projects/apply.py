"""`apply.py PROJECTS KEY`: projects and queues as the values have them; both are files.

It can be run any number of times, and takes nothing away: a queue that left the values stays, with
whatever waits in it, until somebody deletes it.
"""

import json
import os
import sys
from pathlib import Path

import gridloom
from gridloom.errors import ConflictError

# As the chart's values write them, and as the SDK does.
WORDS = {"defaultTimeLimit": "default_time_limit", "maxTimeLimit": "max_time_limit"}
PATIENCE = "3m"


def main() -> None:
    """Apply all of them; the first that is refused ends it, with its reason."""
    projects, key_file = map(Path, sys.argv[1:])
    wanted = json.loads(projects.read_text(encoding="utf-8"))
    key = key_file.read_text(encoding="ascii").strip()
    address = os.environ["GRIDLOOM_ADDRESS"]
    for project, said in wanted.items():
        with gridloom.connect(address, api_key=key, project=project, timeout=PATIENCE) as client:
            for name, options in (said.get("queues") or {}).items():
                apply(client, project, name, options or {})
            apply_project(client, project, {k: v for k, v in said.items() if k != "queues"})


def apply(client: gridloom.Client, project: str, name: str, options: dict) -> None:
    """One queue."""
    words = {WORDS.get(word, word): value for word, value in options.items()}
    try:
        client.create_queue(name, **words)
        done = "made"
    except ConflictError:
        if words:
            client.set_queue(name, **words)
        done = "kept as it is wanted"
    sys.stdout.write(f"queue {project}/{name}: {done}\n")


def apply_project(client: gridloom.Client, name: str, options: dict) -> None:
    """One project; its queues have made it, unless it has none of its own."""
    if name not in {project.name for project in client.projects()}:
        client.create_project(name, **options)
    elif options:
        client.set_project(name, **options)
    sys.stdout.write(f"project {name}: as it is wanted\n")


main()
