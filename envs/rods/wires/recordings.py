"""Recordings of wires held by two arms, read from this package's .npz files or from the pickles of DEFORM and DEFT.

The data are not part of this package. They are looked for in the folder that ``data`` or the variable ``PLIANT_DATA``
names, laid out as ``rods/OBJECT/SPLIT/*.npz`` (the folder may be ``rods`` itself) or as the authors' repositories
(github.com/roahmlab/DEFORM: ``data_set/DLO1/train/*.pkl``; github.com/roahmlab/DEFT: ``dataset/BDLO1/train/*.pkl``).
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from pliant.envs.rods.gaps import fill
from pliant.envs.rods.wires.layouts import CLAMP_MODES, LAYOUTS, OBJECTS, authors_name, check_object
from pliant.envs.rods.wires.pickles import LARGEST_FILE, read_numbers
from pliant.sims.rod.topology import check_parents, edges

VARIABLE = "PLIANT_DATA"
SPLITS = ("train", "eval", "test")
SUFFIXES = (".npz", ".pkl", ".pickle")
AUTHORS_DT = 0.01  # seconds between frames of the authors' pickles, which do not say
FARTHEST = 100.0  # metres; positions beyond are in another unit
SHORTEST_EDGE = 1e-4  # metres
STEADY = 0.4  # standard deviation of an edge's length over its mean; 0.1 at most in the authors' data


@dataclass(frozen=True, eq=False)
class Recording:
    """Motion capture of a wire whose ends (or one end and its middle) two arms hold. z is up.

    The arrays are copied, checked and read-only. Positions may be NaN where a marker was not seen: `gaps` says what
    stands in for them and which frames are left out.

    Attributes:
        name: of the file, without its suffix.
        object: which wire, one of ``OBJECTS`` or any other name.
        positions: of the vertices [m], shape (T, n, 3), float64: the parent rod first, then each child's own vertices.
        known: where they were measured, shape (T, n), booleans.
        dt: time between frames [s].
        clamped: ids of the vertices whose positions are given, shape (c,).
        clamp_mode: "ends" or "middle".
        parents: predecessor of each vertex, -1 for the first, shape (n,): edge i joins ``parents[i]`` and i.
        branch: number of each vertex's rod, 0 for the parent, shape (n,). None: a vertex whose parent is the vertex
            before it belongs to the same rod; any other one begins a new rod.
        is_bridged: whether all gaps of ``positions`` are short enough to be bridged.
        dropped: frames left out at the start and at the end.

    Raises:
        ValueError: a field has another shape or range; the message names the recording and the field.
    """

    name: str
    object: str
    positions: np.ndarray
    dt: float
    clamped: np.ndarray
    clamp_mode: str
    parents: np.ndarray
    branch: np.ndarray | None = field(default=None)
    known: np.ndarray = field(init=False)
    is_bridged: bool = field(init=False)
    dropped: tuple[int, int] = field(init=False)

    def __post_init__(self) -> None:
        positions = self._checked_positions()
        n = positions.shape[1]
        parents, clamped = self._checked_parents(n), self._integers("clamped", self.clamped)
        if not (0 < len(clamped) < n and len(set(clamped.tolist())) == len(clamped)):
            self._refuse(f"clamped={clamped.tolist()} must be different vertices, at least one and not all {n}")
        if clamped.min() < 0 or clamped.max() >= n:
            self._refuse(f"clamped={clamped.tolist()} must be vertices from 0 to {n - 1}")
        if self.clamp_mode not in CLAMP_MODES:
            self._refuse(f"clamp_mode={self.clamp_mode!r} must be one of {', '.join(CLAMP_MODES)}")
        if not 0.0 < self.dt <= 1.0:
            self._refuse(f"dt={self.dt!r} must be a time from 0 to 1 [s]")
        lengths = np.linalg.norm(positions[:, 1:] - positions[:, parents[1:]], axis=-1)
        if (lengths < SHORTEST_EDGE).any():
            frame, edge = np.argwhere(lengths < SHORTEST_EDGE)[0]
            self._refuse(f"edge {edge + 1} has the length {lengths[frame, edge]:.1e} m in frame {frame}")
        try:
            filled = fill(positions, clamped, float(self.dt))
        except ValueError as error:
            self._refuse(str(error))
        checked = {"parents": parents, "clamped": clamped, "branch": self._rods(parents)}
        for name, array in (checked | {"positions": filled.positions, "known": filled.known}).items():
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        for name, value in (("dt", float(self.dt)), ("is_bridged", filled.is_bridged), ("dropped", filled.dropped)):
            object.__setattr__(self, name, value)

    @property
    def free(self) -> np.ndarray:
        """Ids of the vertices that the wire moves itself, shape (n - c,)."""
        return np.setdiff1d(np.arange(len(self.parents)), self.clamped)

    @property
    def missing(self) -> int:
        """Positions that were not measured, in the frames that are kept."""
        return int((~self.known).sum())

    @property
    def branches(self) -> list[np.ndarray]:
        """Vertex ids along each rod; those of a child begin with the vertex that it hangs on."""
        assert self.branch is not None
        rods = [np.flatnonzero(self.branch == number) for number in range(self.branch.max() + 1)]
        return [rods[0], *(np.concatenate([self.parents[rod[:1]], rod]) for rod in rods[1:])]

    def _checked_positions(self) -> np.ndarray:
        positions = np.array(self.positions)
        if positions.dtype.kind not in "fiu":
            self._refuse(f"positions have type {positions.dtype}; real numbers are needed")
        positions = positions.astype(float)
        if positions.ndim != 3 or positions.shape[2] != 3 or positions.shape[0] < 3 or positions.shape[1] < 3:
            self._refuse(f"positions have shape {positions.shape}; allowed: (T, n, 3), T and n at least 3")
        if np.isinf(positions).any():
            frame, vertex, _ = np.argwhere(np.isinf(positions))[0]
            self._refuse(
                f"positions must be finite or, where a marker was not seen, NaN; vertex {vertex} in frame {frame}"
                " is infinite"
            )
        farthest = np.abs(positions).max(initial=0.0, where=~np.isnan(positions))
        if farthest > FARTHEST:
            self._refuse(f"positions reach {farthest:.3g} m; are they in another unit than metres?")
        return positions

    def _checked_parents(self, n: int) -> np.ndarray:
        parents = self._integers("parents", self.parents)
        if parents.shape != (n,):
            self._refuse(f"parents have shape {parents.shape}; the {n} vertices need ({n},)")
        ids = np.arange(n)
        wrong = np.flatnonzero((parents >= ids) | (parents < 0) & (ids > 0) | (parents != -1) & (ids == 0))
        if len(wrong):
            self._refuse(
                f"parents[{wrong[0]}]={parents[wrong[0]]} makes no tree: it must be an earlier vertex, -1 for the first"
            )
        try:
            check_parents(parents)
        except ValueError as error:
            self._refuse(str(error))
        return parents

    def _rods(self, parents: np.ndarray) -> np.ndarray:
        """``branch``, checked: rods are numbered in order, and each is a chain."""
        ids = np.arange(len(parents))
        if self.branch is None:
            return np.cumsum((parents != ids - 1) & (ids > 0))
        branch = self._integers("branch", self.branch)
        if branch.shape != parents.shape or branch[0] != 0:
            self._refuse(f"branch has shape {branch.shape}; the vertices need {parents.shape}, beginning with 0")
        tips = {0: 0}  # the last vertex of each rod so far
        for vertex in range(1, len(parents)):
            number, parent = int(branch[vertex]), int(parents[vertex])
            if number == len(tips) or tips.get(number) == parent:
                tips[number] = vertex
            else:
                self._refuse(
                    f"branch[{vertex}]={number} neither continues that rod after vertex {parent} nor begins one"
                )
        return branch

    def _integers(self, name: str, value: Any) -> np.ndarray:
        array = np.asarray(value)
        if array.ndim != 1 or array.dtype.kind not in "iu":
            self._refuse(f"{name} has type {array.dtype} and shape {array.shape}; integers in one row are needed")
        return array.astype(np.int64)

    def _refuse(self, what: str) -> NoReturn:
        raise ValueError(f"recording {self.name}: {what}")


def data_folder(data: str | Path | None = None) -> Path:
    """The folder of the data: ``data``, else what ``PLIANT_DATA`` names.

    Raises:
        ValueError: neither names a folder that is there.
    """
    named = data or os.environ.get(VARIABLE)
    if not named:
        raise ValueError(f"no data folder: pass --data FOLDER (data=) or set the variable {VARIABLE}")
    folder = Path(named).expanduser()
    if not folder.is_dir():
        where = "--data (data=)" if data else f"the variable {VARIABLE}"
        raise ValueError(f"{where} names {folder}, which is not a folder")
    return folder


def recordings(name: str, split: str, data: str | Path | None = None) -> list[Recording]:
    """All recordings of an object ("dlo1", ...) in a split ("train", "eval", "test"), by the names of their files.

    Raises:
        ValueError: object or split is unknown, there are no such files, a file is broken, or two wires differ.
    """
    name = check_object(name)
    if split not in SPLITS:
        raise ValueError(f"split={split!r} is unknown; allowed: {', '.join(SPLITS)}")
    root = data_folder(data)
    tried = []
    for folder, pattern in _places(root, name, split):
        files = sorted(folder.glob(pattern))
        if files:
            found = [load(path, name=name) for path in files]
            check_alike(found)
            return found
        tried.append(str(folder.relative_to(root) / pattern))
    raise ValueError(f"{root} has no recordings of {name} for {split}; looked for {', '.join(dict.fromkeys(tried))}")


def mean_lengths(recordings: Sequence[Recording]) -> np.ndarray:
    """Mean lengths of the edges over all frames that show both ends, (n,) [m]; the first, which is no edge, as the
    second.

    Raises:
        ValueError: the two ends of an edge are never seen together.
    """
    parents = recordings[0].parents
    lengths = np.concatenate([edges(r.positions, parents)[1] for r in recordings])
    both = np.concatenate([r.known & r.known[:, parents] for r in recordings])
    both[:, 0] = True
    unseen = np.flatnonzero(~both.any(axis=0))
    if len(unseen):
        raise ValueError(f"no frame shows both vertices {parents[unseen[0]]} and {unseen[0]}")
    mean = lengths.mean(axis=0, where=both)
    mean[0] = mean[1]
    return mean


def load(path: str | Path, *, name: str | None = None) -> Recording:
    """One recording: an .npz file, or a pickle of DEFORM or DEFT.

    Args:
        path: the file.
        name: of its object, of a pickle one of ``OBJECTS``; None takes what an .npz file says, else the folder that a
            file lies in.

    Raises:
        ValueError: the file is missing, broken, refused, or a pickle of another object.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise ValueError(f"{path} is no recording: its name must end in {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise ValueError(f"{path} does not exist")
    try:
        if path.suffix == ".npz":
            return _from_npz(path, name)
        return _from_pickle(path, check_object(name) if name else None)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}") from error


def _places(root: Path, name: str, split: str) -> Iterator[tuple[Path, str]]:
    for base in (root / "rods", root):
        yield base / name / split, "*.npz"
    folder = authors_name(name)
    inner = ("dataset", "DEFT/dataset") if folder.startswith("B") else ("data_set", "DEFORM/data_set")
    for base in (root, root / "rods"):
        for part in (*inner, "."):
            yield base / part / folder / split, "*.pkl"


def _object_of_folder(path: Path) -> str | None:
    for part in reversed(path.absolute().parts[:-1]):
        try:
            return check_object(part)
        except ValueError:
            continue
    return None


def _from_npz(path: Path, name: str | None) -> Recording:
    arrays = _read_npz(path)
    missing = [key for key in ("positions", "dt", "clamped", "parents") if key not in arrays]
    if missing:
        raise ValueError(f"{path} lacks the arrays {', '.join(missing)}; it holds {', '.join(sorted(arrays))}")
    if arrays["positions"].dtype.kind not in "fiu":
        raise ValueError(f"{path}: positions have type {arrays['positions'].dtype}; real numbers are needed")
    mode = _text(arrays, "clamp_mode") or "ends"
    written = _text(arrays, "object")
    if name is None:
        name = f"{written.lower()}{'_mid' if mode == 'middle' else ''}" if written else _object_of_folder(path)
    dt = arrays["dt"]
    if dt.ndim or dt.dtype.kind not in "fiu":
        raise ValueError(f"{path}: dt has type {dt.dtype} and shape {dt.shape}; one number is needed")
    return Recording(
        name=path.stem,
        object=name or "",
        positions=arrays["positions"],
        dt=float(str(dt[()])),  # the decimal number that was meant, whatever the precision it was stored in
        clamped=arrays["clamped"],
        clamp_mode=mode,
        parents=arrays["parents"],
        branch=arrays.get("branch"),
    )


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz file; nothing is unpickled, and no more is unpacked than a recording may have."""
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > LARGEST_FILE:
            raise ValueError(f"it unpacks to {size:,} bytes; the most that is read is {LARGEST_FILE:,}")
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except Exception as error:  # a broken archive fails in many ways
        raise ValueError(f"{path} is truncated or no .npz file of plain arrays: {error}") from error


def _text(arrays: dict[str, np.ndarray], key: str) -> str:
    value = arrays.get(key)
    return str(value) if value is not None and value.ndim == 0 and value.dtype.kind == "U" else ""


def _from_pickle(path: Path, name: str | None) -> Recording:
    """The authors' layouts. DEFORM: frames of shape (3, n), z up. DEFT: see ``_from_deft``."""
    name = name or _object_of_folder(path)
    if name is None:
        raise ValueError(f"{path} does not say of which object it is; name one of {', '.join(OBJECTS)}")
    layout = LAYOUTS[name]
    n, numbers = len(layout.parents), read_numbers(path)
    if name.startswith("b"):
        positions = _from_deft(path, numbers, name)
    else:
        if numbers.ndim != 3 or numbers.shape[1:] != (3, n):
            raise ValueError(f"{path} holds an array of shape {numbers.shape}; {name} needs (T, 3, {n})")
        positions = numbers.transpose(0, 2, 1)
    return Recording(
        name=path.stem,
        object=name,
        positions=positions,
        dt=AUTHORS_DT,
        clamped=np.array(layout.clamped),
        clamp_mode=layout.clamp_mode,
        parents=np.array(layout.parents),
        branch=np.array(layout.branch),
    )


def _from_deft(path: Path, numbers: np.ndarray, name: str) -> np.ndarray:
    """Positions (T, n, 3) [m] from an array of DEFT.

    Published are the shapes (1, 3, T·n), (3, T·n) and (3, T, n). In all of them the x of all frames come first, then
    the y, then the z. DEFT's axes x, y, z are -y, z, -x here.
    """
    parents = np.array(LAYOUTS[name].parents)
    n, shape = len(parents), numbers.shape
    while numbers.ndim > 2 and 1 in numbers.shape:
        numbers = numbers.squeeze(numbers.shape.index(1))
    fits = numbers.ndim in (2, 3) and numbers.shape[0] == 3 and numbers.size % (3 * n) == 0 and numbers.size > 0
    if not fits or (numbers.ndim == 3 and numbers.shape[2] != n):
        raise ValueError(
            f"{path} holds an array of shape {shape}; {name} needs (3, T, {n}), (3, T*{n}) or (1, 3, T*{n})"
        )
    x, y, z = numbers.reshape(3, -1, n)
    positions = np.stack([-z, -x, y], axis=-1)
    lengths = edges(positions, parents)[1][:, 1:]
    lengths = lengths[np.isfinite(lengths).all(axis=1)]
    spread = lengths.std(axis=0) / np.maximum(lengths.mean(axis=0), SHORTEST_EDGE) if len(lengths) else np.zeros(1)
    if spread.max() > STEADY:  # with another n whole frames come out, too, but vertices are mixed up
        raise ValueError(
            f"{path}: as {name} edge {int(spread.argmax()) + 1} would change its length by {spread.max():.0%}; "
            "is this a recording of another wire?"
        )
    return positions


def check_alike(found: Sequence[Recording]) -> None:
    """Raise ``ValueError`` if two recordings are not of one wire held in one way."""
    first = found[0]
    for other in found[1:]:
        for key in ("parents", "branch", "clamped", "dt", "clamp_mode"):
            if not np.array_equal(getattr(first, key), getattr(other, key)):
                raise ValueError(f"recordings {first.name} and {other.name} of {first.object} differ in {key}")
