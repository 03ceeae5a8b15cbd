"""Files that are either whole or not there: atomic writing; arrays and JSON read back without unpickling.

Files may come from anybody. What is read is checked before it is believed: regular files of a bounded size, plain
numbers and text, shapes that the file has the bytes for.
"""

from __future__ import annotations

import json
import math
import os
import secrets
import stat
import zipfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import numpy as np

from pliant.sims.inputs import shown

VERSION = 1
"""Of the descriptions of policies."""
LARGEST_JSON = 64 * 2**20  # bytes
MOST_UNPACKED = 256 * 2**20  # bytes that a smaller .npz file may unpack to
MOST_ARRAYS = 10_000
KINDS = "biufcUS"  # of arrays: numbers and text, no objects and no records


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success it takes the place of ``path``, on an exception it is removed.

    The temporary name keeps the suffix, by which encoders choose their format, and nobody can have put a link there.

    Raises:
        OSError: the file cannot be written; the message names ``path``.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(8)}.partial{path.suffix}")
    try:
        if path.is_dir():
            raise OSError("a folder of that name is in the way")
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise OSError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def save_arrays(path: str | Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write named arrays as an .npz file, atomically."""
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **{name: np.asarray(value) for name, value in arrays.items()})  # type: ignore[arg-type]


def load_arrays(path: str | Path, *, required: tuple[str, ...] = ()) -> dict[str, np.ndarray]:
    """Read an .npz file of plain arrays; nothing is unpickled, and no more memory is taken than the file has data for.

    Raises:
        ValueError: the file is missing, broken, holds anything but numbers and text, or lacks one of the ``required``
            arrays.
    """
    size = regular_size(path)
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            unpacked = sum(member.file_size for member in members)
            if len(members) > MOST_ARRAYS or unpacked > max(MOST_UNPACKED, size):
                raise ValueError(f"it unpacks to {unpacked:,} bytes in {len(members):,} parts")
            arrays = {}
            for member in members:
                with archive.open(member) as file:
                    arrays[member.filename.removesuffix(".npy")] = _read_array(file, member)  # type: ignore[arg-type]
    except Exception as error:  # a broken archive fails in many ways
        raise ValueError(
            f"{path} is not a readable .npz file of plain arrays: {error or type(error).__name__}"
        ) from error
    missing = [name for name in required if name not in arrays]
    if missing:
        raise ValueError(f"{path} lacks the arrays {', '.join(missing)}; it holds {', '.join(sorted(arrays))}")
    return arrays


def _read_array(file: BinaryIO, member: zipfile.ZipInfo) -> np.ndarray:
    """One array of an .npz file, if its header speaks of as many bytes as there are."""
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"{member.filename!r} is of version {version} of the format; allowed: (1, 0), (2, 0)")
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, is_fortran, dtype = read_header(file)
    if dtype.kind not in KINDS:
        raise ValueError(f"{member.filename!r} holds {dtype}, neither numbers nor text")
    size = math.prod(shape) * dtype.itemsize
    if min(shape, default=1) < 0 or size != member.file_size - file.tell():
        raise ValueError(f"{member.filename!r} has not the data of an array of shape {shape} of {dtype}")
    data = bytearray(size)
    rest = memoryview(data)
    while rest and (count := file.readinto(rest)):  # type: ignore[attr-defined]
        rest = rest[count:]
    if rest:
        raise ValueError(f"{member.filename!r} is truncated")
    return np.ndarray(shape, dtype, data, order="F" if is_fortran else "C")


def history_array(history: Sequence[Mapping[str, float]], columns: Sequence[str]) -> np.ndarray:
    """Rows of figures as one array, shape (rows, columns), for an .npz file."""
    table = np.array([[row[name] for name in columns] for row in history], np.float64)
    return table.reshape(len(history), len(columns))


def history_rows(table: np.ndarray, columns: Sequence[str]) -> list[dict[str, float]]:
    """Inverse of `history_array`.

    Raises:
        ValueError: the array has another number of columns.
    """
    table = np.asarray(table, np.float64)
    if table.size and (table.ndim != 2 or table.shape[1] != len(columns)):
        raise ValueError(f"history has shape {table.shape}; it must be (rows, {len(columns)})")
    return [dict(zip(columns, row, strict=True)) for row in table.tolist()]


def save_json(path: str | Path, content: Any) -> None:
    """Write plain content as JSON, atomically; numbers must be finite."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def load_json(path: str | Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        ValueError: the file is missing, broken, too large, or holds something else.
    """
    try:
        regular_size(path, LARGEST_JSON)
        content = json.loads(Path(path).read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not a readable JSON file: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds no JSON object")
    return content


def _refuse_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON number")


def regular_size(path: str | Path, most: float = math.inf) -> int:
    """The size of a file [bytes], once it is known to be one: no folder, device or pipe, and no larger than ``most``.

    Raises:
        ValueError: it is missing, or something else.
    """
    try:
        found = os.stat(path)
    except FileNotFoundError:
        raise ValueError(f"{path} does not exist") from None
    except (OSError, ValueError) as error:  # a loop of links, a forbidden folder, a name with a zero byte
        raise ValueError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if not stat.S_ISREG(found.st_mode):
        raise ValueError(f"{path} is no regular file")
    if found.st_size > most:
        raise ValueError(f"{path} is too large: it has {found.st_size:,} bytes, at most {most:,} are read")
    return found.st_size


def without_suffix(path: str | Path) -> Path:
    """PATH of PATH, PATH.npz or PATH.json, the files of a policy; other dots belong to its name."""
    path = Path(path)
    return path.with_suffix("") if path.suffix in (".npz", ".json") else path


def save_description(path: str | Path, kind: str, settings: Mapping[str, Any]) -> None:
    """Write PATH.json: what the weights in PATH.npz are the weights of."""
    save_json(f"{without_suffix(path)}.json", {"version": VERSION, "kind": kind, **settings})


def load_description(path: str | Path, kinds: Collection[str]) -> tuple[str, dict[str, Any]]:
    """Kind and settings of a policy from PATH.json.

    Raises:
        ValueError: the file is missing or broken, or describes a policy of another kind or version.
    """
    file = f"{without_suffix(path)}.json"
    settings = load_json(file)
    kind, version = settings.pop("kind", None), settings.pop("version", None)
    if not isinstance(kind, str) or kind not in kinds:
        raise ValueError(f"{file} describes a policy of kind={kind!r}; allowed: {', '.join(kinds)}")
    if version != VERSION:
        raise ValueError(f"{file} describes a policy by version={version!r}; allowed: {VERSION}")
    return kind, settings


def check_network(
    file: str | Path, settings: Mapping[str, Any], numbers: int, inputs: int | None = None, outputs: int | None = None
) -> None:
    """Check the sizes of a network in a description before it is built.

    Args:
        file: where they stand, for messages.
        settings: "observation_size", "action_size" and "hidden".
        numbers: how many there are in the file of weights; a larger network is not built.
        inputs: of the first layer, where it does not see the whole observation.
        outputs: of the last layer, where it does not give the whole action.

    Raises:
        ValueError: a size is missing, no whole number, or larger than the weights allow.
    """
    hidden = settings.get("hidden")
    if not isinstance(hidden, list):
        raise ValueError(f"{file}: hidden={shown(hidden)} must be a list of whole numbers")
    first, last = settings.get("observation_size"), settings.get("action_size")
    layers = {f"hidden[{k}]": size for k, size in enumerate(hidden)}
    for name, size in {"observation_size": first, **layers, "action_size": last}.items():
        if not isinstance(size, int) or isinstance(size, bool) or not 1 <= size <= numbers:
            raise ValueError(f"{file}: {name}={shown(size)} must be a whole number from 1 to {numbers:,}")
    sizes = [first if inputs is None else inputs, *hidden, last if outputs is None else outputs]
    if sum(a * b for a, b in pairwise(sizes)) > numbers:
        raise ValueError(
            f"{file}: a network of layers {shown(sizes)} has more weights than the {numbers:,} in its other file"
        )
