from __future__ import annotations

import asyncio
import io
import json
import logging
import warnings

import pytest
from gridloom_services.common.logs import configure_logs, log_context

log = logging.getLogger("test.logs")


@pytest.fixture
def written():
    """What was logged so far, one value a line."""
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    stream = io.StringIO()
    configure_logs("info", logging.StreamHandler(stream))
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    root.handlers[:], level = before
    root.setLevel(level)
    logging.captureWarnings(capture=False)


def test_a_record_is_one_line_of_json_with_its_fields(written):
    log.info("gang %s started", "a", extra={"job_id": "job_1", "path": pytest})
    (line,) = written()
    assert line.pop("time").endswith("Z")
    assert line.pop("path").startswith("<module")
    assert line == {
        "level": "info",
        "logger": "test.logs",
        "message": "gang a started",
        "job_id": "job_1",
    }


def test_an_exception_is_part_of_its_line(written):
    try:
        int("two\nlines")
    except ValueError:
        log.exception("failed")
    (line,) = written()
    assert "two\\nlines" in line["exception"]
    assert "Traceback" in line["exception"]


async def test_the_context_holds_within_its_task_and_across_awaits(written):
    async def one(name: str) -> None:
        with log_context(job_id=name):
            await asyncio.sleep(0)
            with log_context(trace_id="t"):
                log.info("inner")
            log.info("outer")

    await asyncio.gather(one("a"), one("b"))
    log.info("none")
    lines = [(x["message"], x.get("job_id"), x.get("trace_id")) for x in written()]
    assert sorted(lines[:4], key=str) == [
        ("inner", "a", "t"),
        ("inner", "b", "t"),
        ("outer", "a", None),
        ("outer", "b", None),
    ]
    assert lines[4] == ("none", None, None)


def test_what_is_below_the_level_is_not_written(written):
    log.debug("quiet")
    assert written() == []


def test_warnings_of_python_are_logged(written):
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", stacklevel=1)
    (line,) = written()
    assert (line["logger"], line["level"]) == ("py.warnings", "warning")
