"""Files that are either whole or not there: atomic writing, and arrays read back without unpickling."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np


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
