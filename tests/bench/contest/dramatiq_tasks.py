"""The same functions as actors of Dramatiq."""

import os

import dramatiq
import redis
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

from tests.bench.contest import work

client = redis.Redis(unix_socket_path=os.environ["BENCH_REDIS"])
# Pickle, as everybody else here has: its JSON has no arrays.
dramatiq.set_encoder(dramatiq.PickleEncoder())
broker = RedisBroker(client=client)
broker.add_middleware(Results(backend=RedisBackend(client=client)))
dramatiq.set_broker(broker)
TASKS = {
    name: dramatiq.actor(getattr(work, name), store_results=True, max_retries=0)
    for name in ("nothing", "tiny", "echo")
}
