"""`python -m tests.support.functions_process HOME`: the functions service alone, to be killed.

The scheduler is played: what would start a pool's job is written to HOME/jobs.json, and whoever
tests starts the workers. Prints the address when ready.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from gridloom_services.common import grpc_environment


async def serve(home: Path) -> None:
    from tests.support.functions import Service

    async with Service(home) as service:
        print(service.address, flush=True)
        told = {}
        while True:
            await asyncio.sleep(0.01)
            for job_id, held in list(service.jobs.jobs.items()):
                if job_id not in told:
                    body = held.job.spec.body.hex()
                    told[job_id] = {"pool": held.job.pool_id, "spec": body}
                    service.runs(job_id)
                    draft = home / "jobs.json.draft"
                    draft.write_text(json.dumps(told))
                    draft.replace(home / "jobs.json")


def main() -> None:
    grpc_environment.prepare()

    import uvloop

    uvloop.run(serve(Path(sys.argv[1])))


if __name__ == "__main__":
    main()
