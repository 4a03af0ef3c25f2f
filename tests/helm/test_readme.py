"""The chart's README tells what is there. UPDATE_GOLDEN=1 writes its table of values anew."""

import os
import re

from tests.support.chart import CHART, EXAMPLES
from tests.support.values_table import values_table

README = CHART / "README.md"
BLOCK = re.compile(r"(?s)(<!-- values -->\n\n).*?(\n<!-- end of values -->)")


def test_the_table_of_values_is_that_of_the_chart():
    found = README.read_text(encoding="utf-8")
    wanted = BLOCK.sub(lambda block: block[1] + values_table() + block[2], found)
    if os.environ.get("UPDATE_GOLDEN"):
        README.write_text(wanted, encoding="utf-8")
    assert BLOCK.search(found)
    assert README.read_text(encoding="utf-8") == wanted


def test_the_examples_are_named():
    found = README.read_text(encoding="utf-8")
    assert [name for name in EXAMPLES if f"examples/{name}.yaml" not in found] == []
