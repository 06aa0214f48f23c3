"""Code that travels by content: a project's own source files, packed so that equal code is equal bytes.

    | 4 bytes: magic | 32 bytes: HMAC-SHA256, or zeros | zip archive |        key: aq:code:<sha256 of the archive>

The archive holds the modules that declare the tasks, what they have imported from the same project, and the modules
that lie beside them; installed packages come with the image. A replica takes a bundle only where it was told to, checks
its hash, and, where it has a signing key, its signature.
"""

from __future__ import annotations

import hashlib
import hmac
import io
import json
import re
import shutil
import sys
import time
import zipfile
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from actorq.base.names import MAIN, main_module, module_named, public_module
from actorq.base.settings import settings
from actorq.broker import keys, records
from actorq.broker.link import Link
from actorq.broker.refusals import ReplyTooLargeError, WrongTypeError
from actorq.code.modules import own_modules, project_root
from actorq.errors import DeclarationError, PoolError
from actorq.wire.lease import Bundle

#: how long a bundle outlives the last map that used it, seconds
TTL_SECONDS = 86_400
#: how often it is looked for on the server, seconds: it may have lost it
_LOOK_SECONDS = 5.0
#: more than this is data, not code: bytes of all files and of the archive, files, and how many times smaller than its
#: files an archive may be (Python code shrinks to a third; what shrinks to a hundredth was made to)
_MAX_BYTES = 16 * 1024 * 1024
_MAX_FILES = 10_000
_MAX_RATIO = 100
#: files of so few bytes may shrink as they like
_SMALL_BYTES = 1024 * 1024
_MAGIC = b"AQB1"
#: magic and signature
_HEAD_BYTES = len(_MAGIC) + 32
_MANIFEST = ".actorq.json"
#: names of modules; that of a script may have a dash
_MODULE = re.compile(r"[^\W\d][\w-]*(\.[^\W\d]\w*)*")
#: ways to compress that are read
_COMPRESSIONS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
#: the zip format's first moment: the same code must be the same bytes whenever it is packed
_NO_TIME = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, kw_only=True)
class Unpacked:
    """A bundle on disk."""

    folder: Path
    #: modules that declare tasks
    modules: list[str]


def is_project_code(declaring: AbstractSet[str]) -> bool:
    """Whether one of the modules that declare tasks is not installed: a script, or one in a folder."""
    return any(project_root(name) is not None for name in declaring)


def pack(environment: str, declaring: AbstractSet[str]) -> Bundle:
    """The code of an environment's tasks. Raises `DeclarationError` when there is too much, or none.

    Args:
        environment: its name, for messages.
        declaring: the modules that declare its tasks.
    """
    roots = {root for name in declaring if (root := project_root(name)) is not None}
    if not roots:
        raise DeclarationError(
            f"Environment {environment!r} has code='bundle', and its tasks are declared in installed packages."
        )
    if archives := [root for root in sorted(roots) if not Path(root).is_dir()]:
        raise DeclarationError(
            f"The program runs from the archive {archives[0].rstrip('/')}, and code='bundle' takes files of a folder: "
            "unpack it, or put the code into the image."
        )
    files: dict[str, Path] = {}
    for folder in map(Path, sorted(roots)):
        for path in folder.glob("*.py"):
            files[path.name] = path
    for name in own_modules(declaring):
        _add_module(name, roots, files)
    if declaring & MAIN:
        name, script = main_module()
        if script is not None:
            files[f"{name}.py"] = Path(script)  # it may have no suffix, or dots, or be that of a folder
    manifest = {"modules": sorted(public_module(name) for name in declaring)}
    archive = _archive(files, json.dumps(manifest).encode())
    code = hashlib.sha256(archive).hexdigest()
    return Bundle(code=code, data=_MAGIC + _signatures(archive)[0] + archive)


class Courier:
    """Keeps the code that travels with some work, if any does, where replicas find it."""

    def __init__(self, bundle: Bundle | None) -> None:
        self._bundle = bundle
        self._brought = float("-inf")

    def bring(self, link: Link, *, anew: bool = False) -> None:
        """Puts the code on the server, or lets it live on there. Looks at it every few seconds only, or `anew`."""
        if self._bundle is None or (time.monotonic() - self._brought <= _LOOK_SECONDS and not anew):
            return
        code, data = self._bundle.code, self._bundle.data
        try:
            there = records.code_head(link, code, _HEAD_BYTES)
        except WrongTypeError:  # SET puts the code in its place
            there = b""
        # Equal code may lie there with the signature of an earlier key. An unsigned one is no better than any.
        if there == data[:_HEAD_BYTES] or (there and data[:_HEAD_BYTES] == _MAGIC + bytes(32)):
            records.keep_code(link, code, TTL_SECONDS)
        else:
            records.put_code(link, code, data, TTL_SECONDS)
        self._brought = time.monotonic()


def fetch(code: str, link: Link) -> bytes:
    """A bundle as it is on the server. Raises `PoolError` when it is not there, or cannot be one."""
    try:
        data = link.fetch(keys.code(code), _HEAD_BYTES + _MAX_BYTES)
    except (WrongTypeError, ReplyTooLargeError) as error:
        raise PoolError(f"The code bundle {code[:12]} cannot be read: {error}") from error
    if data is None:
        raise PoolError(f"The code bundle {code[:12]} is no longer on the server: start the map again.")
    return bytes(data)


def unpack(code: str, data: bytes, folder: Path, *, vouched: bool = False) -> Unpacked:
    """Checks a bundle and writes it into `folder`.

    Args:
        code: its name, the hash of the archive.
        data: as it is on the server.
        folder: where to.
        vouched: a signed lease has named it, so its own signature, which a pod cannot check, may be any.

    Raises `PoolError` when it is not what its name says, or is not signed with this replica's key.
    """
    archive = data[_HEAD_BYTES:]
    if data[: len(_MAGIC)] != _MAGIC or hashlib.sha256(archive).hexdigest() != code:
        raise PoolError(f"The code bundle {code[:12]} is damaged, or not what its name says: it was not run.")
    given = data[len(_MAGIC) : _HEAD_BYTES]
    if not vouched and not any(hmac.compare_digest(given, each) for each in _signatures(archive)):
        raise PoolError(
            f"The code bundle {code[:12]} is not signed with the key of this replica: it was not run. "
            "Set the same ACTORQ_SIGNING_KEY where the map is started."
        )
    try:
        return Unpacked(folder=folder, modules=_extract(archive, folder))
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if not isinstance(error, Exception):
            raise
        # the disk is full, or somebody has packed what is no archive of ours: nothing here but this map is the worse
        raise PoolError(
            f"The code bundle {code[:12]} cannot be unpacked here: {type(error).__name__}: {error!s:.300}"
        ) from error


def _extract(archive: bytes, folder: Path) -> list[str]:
    """Writes the files of an archive into `folder`; returns the modules that declare tasks."""
    if len(archive) > _MAX_BYTES:
        raise ValueError(f"it has {len(archive):,} bytes")
    with zipfile.ZipFile(io.BytesIO(archive)) as packed:
        entries = packed.infolist()
        _check_size(len(entries), sum(entry.file_size for entry in entries), len(archive))
        manifest = b""
        for entry in entries:
            path = PurePosixPath(entry.filename)
            if path.is_absolute() or ".." in path.parts:
                raise ValueError("it wants to write outside its folder")
            if entry.compress_type not in _COMPRESSIONS:  # others take memory as their data says
                raise ValueError(f"{entry.filename:.100} is compressed in another way")
            if entry.is_dir():
                continue
            with packed.open(entry) as file:
                content = file.read(entry.file_size)  # and no more, whatever the data holds
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
            if entry.filename == _MANIFEST:
                manifest = content
    modules = json.loads(manifest)["modules"]
    if not isinstance(modules, list) or not all(_is_module(name) for name in modules):
        raise ValueError("it does not say which modules it is for")
    return modules


def _check_size(files: int, size: int, packed: int) -> None:
    """Raises `ValueError` for more files, or larger ones, than code has."""
    if files > _MAX_FILES:
        raise ValueError(f"it has {files:,} files, and may have {_MAX_FILES:,}")
    if size > _MAX_BYTES:
        raise ValueError(f"its files have {size:,} bytes, and may have {_MAX_BYTES:,}")
    if size > _SMALL_BYTES and size > _MAX_RATIO * packed:
        raise ValueError(f"its files are {size // packed} times as large as itself, and may be {_MAX_RATIO} times")


def _is_module(name: object) -> bool:
    return isinstance(name, str) and _MODULE.fullmatch(name) is not None


def _add_module(name: str, roots: set[str], files: dict[str, Path]) -> None:
    """The file of a module, or, of a package, all its Python files."""
    top = public_module(name).partition(".")[0]
    found = (sys.modules.get(top), module_named(name))  # a folder without an __init__ has no file: its modules have
    source = next((file for module in found if (file := getattr(module, "__file__", None)) is not None), None)
    if not isinstance(source, str) or not source.endswith(".py"):
        return
    path = Path(source).resolve()
    root = next((Path(root) for root in roots if path.is_relative_to(root)), None)
    if root is None:
        return
    if path.name != "__init__.py":
        files[str(path.relative_to(root))] = path
        return
    for inner in path.parent.rglob("*.py"):
        files[str(inner.relative_to(root))] = inner


def _archive(files: dict[str, Path], manifest: bytes) -> bytes:
    total = 0
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as packed:
        for name, content in [(_MANIFEST, manifest), *((n, files[n].read_bytes()) for n in sorted(files))]:
            total += len(content)
            if total > _MAX_BYTES:
                raise DeclarationError(
                    f"The project's own Python files are more than {_MAX_BYTES >> 20} MiB (at {name}): "
                    "put them into the image and declare code='image'."
                )
            entry = zipfile.ZipInfo(name.replace("\\", "/"), _NO_TIME)
            entry.external_attr = 0o644 << 16
            packed.writestr(entry, content, compress_type=zipfile.ZIP_DEFLATED, compresslevel=6)
    archive = out.getvalue()
    try:
        _check_size(len(files) + 1, total, len(archive))
    except ValueError as error:
        raise DeclarationError(
            f"The project's own Python files cannot travel as a bundle: {error}. Put them into the image and declare "
            "code='image'."
        ) from None
    return archive


def _signatures(archive: bytes) -> list[bytes]:
    """Of the keys of this program: the first one is that of its own bundles. All zeros where it has none."""
    keys = settings().signing_keys
    return [hmac.digest(key, b"actorq bundle\0" + archive, "sha256") for key in keys] or [bytes(32)]
