"""Arrow's columns and numpy's arrays: the same values either way, and no pandas."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from recovery_kit.tables.arrow import column, texts, values

NUMBERS = st.sampled_from(["int8", "int32", "int64", "uint8", "uint16", "uint64"])


@given(arrays.arrays(NUMBERS, st.integers(0, 50)), st.data())
def test_numbers_go_there_and_back_from_anywhere_in_a_column(
    given: np.ndarray, data: st.DataObject
) -> None:
    made = column(given)
    assert made.equals(pa.array(given))
    made.validate(full=True)
    first = data.draw(st.integers(0, len(given)))
    assert np.array_equal(values(made.slice(first)), given[first:])
    assert np.array_equal(
        values(pa.chunked_array([made.slice(first), made])), [*given[first:], *given]
    )
    assert values(made).dtype == given.dtype


@given(
    arrays.arrays(np.int64, st.integers(0, 50)).flatmap(
        lambda a: st.tuples(st.just(a), arrays.arrays(bool, len(a)))
    )
)
def test_nulls_and_truth_values(given: tuple[np.ndarray, np.ndarray]) -> None:
    numbers, there = given
    assert column(numbers, there).to_pylist() == [
        n if t else None for n, t in zip(numbers.tolist(), there, strict=True)
    ]
    assert column(there).to_pylist() == there.tolist()
    assert column(numbers[::2]).to_pylist() == numbers[::2].tolist()


@given(st.lists(st.text()))
def test_texts(given: list[str]) -> None:
    for kind in (pa.string(), pa.large_string()):
        assert texts(given, kind).equals(pa.array(given, kind))
        texts(given, kind).validate(full=True)


@pytest.mark.parametrize(
    "use",
    [
        "values(column(np.arange(3)))",
        "column(np.ones(3, bool), np.ones(3, bool))",
        "texts(['a'], pa.string())",
    ],
)
def test_pandas_is_not_loaded(use: str) -> None:
    code = f"""
import sys, numpy as np, pyarrow as pa
from recovery_kit.tables.arrow import *
{use}
print("pandas" in sys.modules)"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
