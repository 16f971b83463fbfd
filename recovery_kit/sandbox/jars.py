"""Apache Kafka's jars: fetched once into the user's cache, each held against a committed SHA-256
sum.

The sums stand in ``jars.txt``: a heading for each version of Kafka, then a sum and Maven
coordinates a line. To add a version, or to renew one, ``python -m recovery_kit.sandbox.jars --write
4.3.1`` resolves its dependencies and rewrites its lines; look at the difference before committing
it.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from recovery_kit._show import told
from recovery_kit.errors import SandboxError

VERSION = "4.3.1"
"""The Apache Kafka that the sandbox runs unless told otherwise."""

SUMS = Path(__file__).with_name("jars.txt")

# Without a binding slf4j swallows the broker's log, and with it the reason why it did not start.
_WANTED = "org.apache.kafka:kafka_2.13:{version}", "org.slf4j:slf4j-simple:1.7.36"
_HEADING = "# Apache Kafka "

Fetch = Callable[[str, Path], Path]
"""Brings one jar, named by its coordinates, into a folder and returns its path."""


def jars(
    version: str = VERSION, *, progress: bool = True, fetch: Fetch | None = None
) -> list[Path]:
    """Paths of the jars of one version of Apache Kafka, all of them checked.

    Fetched first where they are missing.

    Parameters
    ----------
    version : str
        One that ``jars.txt`` has sums for.
    progress : bool
        Say on standard error what is fetched.
    fetch : callable, optional
        What fetches a jar, in place of jgo.

    Raises
    ------
    SandboxError
        When the version is unknown, a jar cannot be fetched, or its sum differs; nothing unsound is
        kept.
    """
    from recovery_kit.sandbox.lease import locked

    wanted = sums(version)
    folder = cache_folder() / f"kafka-{version}"
    paths = {coordinates: folder / file_name(coordinates) for coordinates in wanted}
    if _unsound(paths, wanted):
        folder.mkdir(parents=True, exist_ok=True)
        waiting = "Waiting for another process that is fetching Apache Kafka" if progress else ""
        with locked(folder / "lock", waiting=waiting):
            missing = _unsound(paths, wanted)  # again: whoever held the lock may have brought them
            _bring(missing, paths, wanted, fetch or _fetch_with_jgo, progress=progress)
    return list(paths.values())


def sums(version: str) -> dict[str, str]:
    """Coordinates of the jars of one version, each with its SHA-256 sum in hex.

    Raises
    ------
    SandboxError
        When there are none for that version; names those there are.
    """
    known = _read_sums()
    if version not in known:
        raise SandboxError(
            f"no checksums for Apache Kafka {version}; known versions: {', '.join(known)}. A "
            f"maintainer adds one with 'python -m recovery_kit.sandbox.jars --write {version}'"
        )
    return known[version]


def file_name(coordinates: str) -> str:
    """The file name of the jar of ``group:artifact:version``."""
    _, artifact, version = coordinates.split(":")
    return f"{artifact}-{version}.jar"


def cache_folder() -> Path:
    """Where this user's programs keep what they can fetch again, with a folder in it for this
    kit.
    """
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "recovery-kit"


def _unsound(paths: dict[str, Path], wanted: dict[str, str]) -> list[str]:
    return [c for c, path in paths.items() if not path.is_file() or _sha256(path) != wanted[c]]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _bring(
    missing: Sequence[str],
    paths: dict[str, Path],
    wanted: dict[str, str],
    fetch: Fetch,
    *,
    progress: bool,
) -> None:
    for number, coordinates in enumerate(missing):
        path = paths[coordinates]
        if progress and number % 10 == 0:
            print(
                f"Fetching Apache Kafka into {path.parent}: {number} of {len(missing)} files",
                file=sys.stderr,
            )
        with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
            fetched = _fetched(coordinates, Path(scratch), fetch)
            if (found := _sha256(fetched)) != wanted[coordinates]:
                raise SandboxError(
                    f"{path.name} as fetched has the SHA-256 sum {found}, expected "
                    f"{wanted[coordinates]}; it was thrown away. Run again; when it stays so, a "
                    "proxy or mirror on the way alters the file"
                )
            fetched.replace(path)  # at once and whole, also for a reader that holds no lock
    if progress and missing:
        print(
            f"Fetching Apache Kafka: all {len(missing)} files are there and checked",
            file=sys.stderr,
        )


def _fetched(coordinates: str, scratch: Path, fetch: Fetch) -> Path:
    try:
        return fetch(coordinates, scratch)
    except (
        OSError,
        RuntimeError,
    ) as problem:  # requests' errors are OSErrors, jgo's are RuntimeErrors
        raise SandboxError(
            f"could not fetch {file_name(coordinates)}: {type(problem).__name__}: "
            f"{told(problem, 1000)}. {_RESIGNED if 'certificate' in str(problem).lower() else ''}"
            "The sandbox needs the network once, to fetch Apache Kafka from "
            "a Maven repository; what has come is kept, so run again when connected. A proxy is "
            "taken from HTTPS_PROXY, a mirror from the [repositories] of jgo's configuration; "
            f"without any network, copy {cache_folder()} from a machine that has it"
        ) from problem


_RESIGNED = (
    "Where a proxy on the way re-signs TLS, put its certificate authority into the system's store, "
    "which is asked here as pip asks it, or name its PEM file in REQUESTS_CA_BUNDLE. "
)


@contextmanager
def _system_trust() -> Iterator[None]:
    """Let what jgo makes of requests trust the system's authorities beside certifi's.

    jgo takes no session and no context, so this is for the whole process, and for as long as a jar
    takes; one who has done so for good is left alone.
    """
    import ssl

    import truststore

    if ssl.SSLContext is truststore.SSLContext:
        yield
        return
    truststore.inject_into_ssl()
    try:
        yield
    finally:
        truststore.extract_from_ssl()


def _fetch_with_jgo(coordinates: str, folder: Path) -> Path:
    from jgo.config import GlobalSettings
    from jgo.maven import MavenContext

    group, artifact, version = coordinates.split(":")
    settings = GlobalSettings.load()
    context = MavenContext(
        repo_cache=folder, local_repos=[], remote_repos=settings.repositories or None, timeout=30
    )
    found = context.project(group, artifact).at_version(version).artifact()
    local = settings.repo_cache / found.component.path_prefix / found.filename
    if (
        local.is_file()
    ):  # Maven, or another program, has it already; its sum is checked all the same
        return Path(shutil.copy(local, folder))
    with _system_trust():
        return Path(found.resolve())


def _read_sums() -> dict[str, dict[str, str]]:
    known: dict[str, dict[str, str]] = {}
    for line in SUMS.read_text(encoding="utf-8").splitlines():
        if line.startswith(_HEADING):
            section = known.setdefault(line.removeprefix(_HEADING), {})
        elif line:
            digest, coordinates = line.split()
            section[coordinates] = digest
    return known


def _write_sums(version: str) -> None:
    """Resolve what one version needs, fetch it anew and rewrite its lines in jars.txt."""
    import jgo

    endpoint = "+".join(_WANTED).format(version=version)
    with _system_trust():
        found = jgo.resolve(endpoint)
    if odd := [str(a) for a in found if a.classifier or a.packaging != "jar"]:
        raise SandboxError(f"jars.txt holds plain jars only, not {odd}")
    resolved = sorted(f"{a.groupId}:{a.artifactId}:{a.version}" for a in found)
    known = _read_sums() if SUMS.exists() else {}
    known[version] = {}
    for coordinates in resolved:
        with tempfile.TemporaryDirectory() as scratch:
            known[version][coordinates] = _sha256(_fetch_with_jgo(coordinates, Path(scratch)))
        print(coordinates, file=sys.stderr)
    SUMS.write_text("\n".join(_lines(known)), encoding="utf-8")


def _lines(known: dict[str, dict[str, str]]) -> Iterable[str]:
    for version, section in sorted(known.items(), reverse=True):
        yield _HEADING + version
        yield from (f"{digest}  {coordinates}" for coordinates, digest in section.items())
        yield ""


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description="Fetch the sandbox's Apache Kafka, or renew its checksums."
    )
    parser.add_argument("version", nargs="?", default=VERSION)
    parser.add_argument(
        "--write", action="store_true", help="resolve the version's jars and rewrite jars.txt"
    )
    options = parser.parse_args()
    if options.write:
        _write_sums(options.version)
    else:
        print(*jars(options.version), sep="\n")
