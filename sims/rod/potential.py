"""The incremental potential of an implicit step, of which the step is a minimum: for the line search."""

from functools import cache
from types import SimpleNamespace
from typing import Any

from pliant.sims.fields import PARAMETER
from pliant.sims.rod import places
from pliant.sims.rod.assembly import assembly_functions
from pliant.sims.rod.places import Setup
from pliant.sims.runtime import ti


@cache
def potential_functions(setup: Setup) -> SimpleNamespace:
    """``potential(mem, b, r_in, r_out, second)``: at the trial state of row r_out, with the symbols of ``assembly.py``,

    sum m (|v - v_o|^2/2 - g.z) - f.z + c |v|^2/(2 s) + c2 |v|^3/(3 s) + contacts + sum K/(2 L) (eps - L)^2
    + sum_joints B/(2 l) ((q - q0 l)^2 + s eta (q - q_o)^2).
    """
    at, fp, has_effectors, has_self_contact = setup.at, setup.fp, setup.eff is not None, setup.has_self_contact
    eff: Any = setup.eff
    rod = assembly_functions(setup)
    tree = rod.tree

    @ti.func
    def potential(mem: ti.template(), b, r_in, r_out, second):
        """Value of the incremental potential [J] at row r_out; writes the strains there."""
        h = ti.static(mem.integers)
        a = ti.static(mem.frames)
        old, new, params, _work = rod.starts(mem, b, r_in, r_out)
        s, last, before = rod.scheme(mem, second)
        scale = rod.scales(mem, b)
        gravity = rod.load3(mem.parameters, b * h[PARAMETER] + h[at.world] + places.GRAVITY)
        rod.measure(mem, new)
        energy = fp(0.0)
        for i in range(h[at.count]):
            f = rod.field(old, i, 0)
            z = rod.load3(a, rod.field(new, i, places.POSITION))
            x_o = rod.load3(a, f + places.POSITION)
            v = s * (z - last * x_o - before * rod.load3(a, f + places.OLD_POSITION))
            jump = v - last * rod.load3(a, f + places.VELOCITY) - before * rod.load3(a, f + places.OLD_VELOCITY)
            drag = mem.parameters[rod.parameter(params, i, places.DRAG)]
            quadratic = mem.parameters[rod.parameter(params, i, places.QUADRATIC_DRAG)]
            square = v.dot(v)
            mass = scale[places.MASS_SCALE] * mem.parameters[rod.parameter(params, i, places.MASS)]
            # relative to the old position, to lose fewer digits
            energy += mass * jump.dot(jump) / 2 - (mass * gravity + rod.applied(mem, b, i)).dot(z - x_o)
            energy += square * (drag / 2 + quadratic * ti.sqrt(square) / 3) / s
            if ti.static(has_effectors):
                if tree.is_free(mem, i):
                    for j in range(h[eff.count]):
                        energy += rod.contact.potential(mem, b, r_out, j, x_o, z)
        for i in range(1, h[at.count]):
            p = rod.parent_of(mem, i)
            _t, eps = rod.edge(mem, new, i)
            rest = mem.parameters[rod.parameter(params, i, places.REST_LENGTH)]
            energy += mem.parameters[rod.parameter(params, i, places.STRETCH)] / rest * (eps - rest) ** 2 / 2
            if rod.parent_of(mem, p) >= 0:
                f = rod.field(old, i, 0)
                earlier = last * rod.load3(a, f + places.STRAIN) + before * rod.load3(a, f + places.OLD_STRAIN)
                strain = rod.load3(a, rod.field(new, i, places.STRAIN))
                _w, stiffness, viscous, natural, _length = rod.moments(mem, params, i, p, s, strain, earlier, scale)
                for d in ti.static(range(3)):
                    off = strain[d] - natural[d]
                    rate = strain[d] - earlier[d]
                    energy += stiffness[d] * (off * off + viscous[d] * rate * rate) / 2
        if ti.static(has_self_contact):
            energy += rod.self_contact.potential(mem, b, old, new)
        return energy

    return SimpleNamespace(potential=potential)
