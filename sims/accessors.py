"""Taichi functions that read and write a part's quantities by name: what a solver from outside needs no offsets for."""

from functools import cache
from types import SimpleNamespace
from typing import Any

from pliant.sims.fields import CONTROL, OUTPUT, PARAMETER, STATE
from pliant.sims.part import Part
from pliant.sims.runtime import ti


def accessors(part: Part, fp: Any, atomic: bool = False) -> SimpleNamespace:
    """By the name of each quantity of ``part``, a namespace of functions of element i (0 for a quantity of the world).

    ``load(mem, row, i)`` and ``store(mem, row, i, value)``: a number, a vector or a matrix. ``load_bar(mem, b, i)``,
    ``store_bar(mem, b, i, value)``, ``add_bar(mem, b, i, value)``: its cotangent. Rows of the state are frame * batch +
    world; those of parameters, controls and outputs are the world b.

    Args:
        part: one that a World has been made of.
        fp: the floating-point type.
        atomic: add to cotangents atomically. So it has to be on a device, and on a CPU where elements add to each
            other's cotangents, as a team shares them out. To those of the whole world's quantities all threads add:
            they are always added to atomically, and a team's sums are equal from run to run to rounding. Sums that
            are to be equal to the last bit go by way of ``Needs.partial``.
    """
    found = SimpleNamespace()
    for kind, fields in part.fields.items():
        for name, field in fields.items():
            is_shared = atomic or field.count is None
            own = _functions(kind, field.entry, field.within, field.stride, field.shape, fp, is_shared)
            setattr(found, name, own)
    return found


@cache
def _functions(
    kind: str, entry: int, within: int, stride: int, shape: tuple[int, ...], fp: Any, atomic: bool
) -> SimpleNamespace:
    """The functions of one field, ``within`` floats into each element of a record; header entry ``entry`` places it."""
    arrays = {
        "state": ("frames", "adjoint", STATE),
        "parameters": ("parameters", "parameter_adjoint", PARAMETER),
        "controls": ("controls", "control_adjoint", CONTROL),
        "outputs": ("outputs", "output_adjoint", OUTPUT),
    }
    values, cotangents, size_at = arrays[kind]
    rank = len(shape)
    rows, columns = (shape + (1, 1))[:2]

    @ti.func
    def place(mem: ti.template(), row, i):
        """Where element i of a row stands in its array."""
        h = ti.static(mem.integers)
        return row * h[size_at] + h[entry] + i * stride + within

    @ti.func
    def read(a: ti.template(), o):
        """The number, vector or matrix from o on."""
        if ti.static(rank == 0):
            return a[o]
        elif ti.static(rank == 1):
            return ti.Vector([a[o + k] for k in ti.static(range(rows))])
        else:
            return ti.Matrix(
                [[a[o + k * columns + l] for l in ti.static(range(columns))] for k in ti.static(range(rows))]
            )

    @ti.func
    def write(a: ti.template(), o, value, adds: ti.template()):
        """Sets the entries from o on to a number, vector or matrix, or adds it to them."""
        if ti.static(rank == 0):
            put(a, o, value, adds)
        elif ti.static(rank == 1):
            for k in ti.static(range(rows)):
                put(a, o + k, value[k], adds)
        else:
            for k in ti.static(range(rows)):
                for l in ti.static(range(columns)):
                    put(a, o + k * columns + l, value[k, l], adds)

    @ti.func
    def put(a: ti.template(), o, value, adds: ti.template()):
        """Sets one entry, or adds to it."""
        if ti.static(not adds):
            a[o] = value
        elif ti.static(atomic):
            a[o] += value
        else:
            a[o] = a[o] + value

    @ti.func
    def load(mem: ti.template(), row, i):
        """The value of element i."""
        return read(ti.static(getattr(mem, values)), place(mem, row, i))

    @ti.func
    def store(mem: ti.template(), row, i, value):
        """Sets the value of element i."""
        write(ti.static(getattr(mem, values)), place(mem, row, i), value, False)

    @ti.func
    def load_bar(mem: ti.template(), b, i):
        """The cotangent of element i of world b."""
        return read(ti.static(getattr(mem, cotangents)), place(mem, b, i))

    @ti.func
    def store_bar(mem: ti.template(), b, i, value):
        """Sets the cotangent of element i."""
        write(ti.static(getattr(mem, cotangents)), place(mem, b, i), value, False)

    @ti.func
    def add_bar(mem: ti.template(), b, i, value):
        """Adds to the cotangent of element i."""
        write(ti.static(getattr(mem, cotangents)), place(mem, b, i), value, True)

    return SimpleNamespace(load=load, store=store, load_bar=load_bar, store_bar=store_bar, add_bar=add_bar)
