"""Loading: the garbage collector rests meanwhile, and is afterwards as it was."""

import gc
import subprocess
import sys
import weakref
from collections.abc import Iterator

import pytest

from recovery_kit._loading import loading


class Knot:
    """Refers to itself, so that only the collector can take it away."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
    assert gc.isenabled()
    yield
    gc.unfreeze()
    gc.enable()


def test_the_collector_rests_while_something_is_loaded() -> None:
    with loading():
        assert not gc.isenabled()
        with loading():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()


def test_it_goes_on_after_a_failed_import() -> None:
    with pytest.raises(ModuleNotFoundError), loading():
        import no_such_module  # type: ignore[import-not-found]  # noqa: F401
    assert gc.isenabled()


def test_garbage_is_collected_afterwards_whether_it_was_made_before_or_meanwhile() -> None:
    before = weakref.ref(Knot())
    with loading():
        meanwhile = weakref.ref(Knot())
    gc.collect()
    assert before() is None
    assert meanwhile() is None
    assert not gc.get_freeze_count()


def test_a_collector_that_was_off_stays_off() -> None:
    gc.disable()
    with loading():
        pass
    assert not gc.isenabled()


def test_what_a_user_froze_stays_frozen() -> None:
    gc.freeze()
    frozen = gc.get_freeze_count()
    with loading():
        pass
    assert gc.get_freeze_count() >= frozen - 100  # some of it may have died by itself
    assert gc.isenabled()


def test_the_collector_does_not_look_through_what_the_verbs_load() -> None:
    code = """
import gc
looks = []
gc.callbacks.append(lambda phase, info: looks.append(info["generation"]))
import recovery_kit as rk
rk.replay, rk.dedup, rk.totals
print(max(looks, default=-1))"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 2


def test_the_interpreter_does_not_end_in_the_middle_of_a_library() -> None:
    code = """
import time
from recovery_kit._loading import ahead
def fails(): raise ImportError
ahead(lambda: (time.sleep(0.3), print("loaded")), fails)
print("done")"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout.split(), done.stderr) == (["done", "loaded"], "")
