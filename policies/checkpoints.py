"""Files that are either whole or not there: atomic writing; arrays and JSON read back without unpickling."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

VERSION = 1
"""Of the descriptions of policies."""


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success it takes the place of ``path``, on an exception it is removed.

    The temporary name keeps the suffix, by which encoders choose their format.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def save_arrays(path: str | Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write named arrays as an .npz file, atomically."""
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **{name: np.asarray(value) for name, value in arrays.items()})  # type: ignore[arg-type]


def load_arrays(path: str | Path, *, required: tuple[str, ...] = ()) -> dict[str, np.ndarray]:
    """Read an .npz file of plain arrays; nothing is unpickled.

    Raises:
        ValueError: the file is missing, broken, holds pickled objects, or lacks one of the ``required`` arrays.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise ValueError(f"{path} does not exist") from None
    except (OSError, ValueError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is not a readable .npz file of plain arrays: {error}") from error
    missing = [name for name in required if name not in arrays]
    if missing:
        raise ValueError(f"{path} lacks the arrays {', '.join(missing)}; it holds {', '.join(sorted(arrays))}")
    return arrays


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
        ValueError: the file is missing, broken, or holds something else.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is not a readable JSON file: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds no JSON object")
    return content


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
