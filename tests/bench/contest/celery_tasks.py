"""The same functions as tasks of Celery."""

import os

from celery import Celery

from tests.bench.contest import work

SOCKET = os.environ["BENCH_REDIS"]
app = Celery("bench", broker=f"redis+socket://{SOCKET}", backend=f"redis+socket://{SOCKET}")
# Pickle, as everybody else here has: its JSON has no arrays. One task at a time is handed out.
app.conf.update(
    task_serializer="pickle",
    result_serializer="pickle",
    accept_content=["pickle"],
    broker_connection_retry_on_startup=True,
)
TASKS = {name: app.task(getattr(work, name), name=name) for name in ("nothing", "tiny", "echo")}
