"""Benchmarks are run by hand; what they take from the kit by name is there all the same."""

import importlib
import importlib.util
from functools import reduce
from pathlib import Path

WHERE = Path(__file__).parent.parent / "benchmarks" / "where.py"


def test_what_the_clocks_are_put_around_exists() -> None:
    spec = importlib.util.spec_from_file_location("where", WHERE)
    assert spec is not None
    assert spec.loader is not None
    where = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(where)
    assert len(where.PARTS) > 10
    for place in where.PARTS:
        module, _, path = place.partition(":")
        assert callable(reduce(getattr, path.split("."), importlib.import_module(module))), place
