"""The stages of the contact of gels with particles, see ``particle_contact.py``."""

from functools import cache

from pliant.sims.fem.bins import bin_functions
from pliant.sims.fem.particle_contact import list_functions, particle_touch_adjoints, particle_touch_functions
from pliant.sims.fem.touch_places import TouchSetup
from pliant.sims.fem.touch_stages import touch_stages
from pliant.sims.math.access import access_functions
from pliant.sims.mpm.transfers.particle import particle_functions
from pliant.sims.part import Pass, Stages
from pliant.sims.runtime import ti


@cache
def particle_touch_stages(setup: TouchSetup) -> Stages:
    """See ``touch_stages``."""
    at, fp = setup.at, setup.fp
    bins, lists = bin_functions(setup), list_functions(setup)
    touch, back = particle_touch_functions(setup), particle_touch_adjoints(setup)
    particle, load3 = particle_functions(setup.matter), access_functions(fp).load3

    @ti.func
    def make(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """The cells, and the points by cells."""
        for _ in range(first, stop):
            bins.make(mem, b)

    @ti.func
    def classify(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """Cells of particles first to stop - 1, on which no force acts yet."""
        h = ti.static(mem.integers)
        for p in range(first, stop):
            x = load3(mem.frames, particle.state_of(mem, row_in, p))
            h[h[at.codes] + b * h[at.particles] + p] = bins.code(mem, b, x)
            for d in ti.static(range(3)):
                mem.scratch[lists.kick_at(mem, b, p) + d] = fp(0.0)

    @ti.func
    def sort(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """The particles by cells."""
        for _ in range(first, stop):
            bins.sort(mem, b)

    @ti.func
    def copy(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """What points see of the particles of slots first to stop - 1."""
        for s in range(first, stop):
            lists.list_particle(mem, b, s, row_in)

    @ti.func
    def press(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """Forces on the points of slots first to stop - 1."""
        for s in range(first, stop):
            touch.press(mem, b, s, row_in, row_out)

    @ti.func
    def choose(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """Which points may be touched."""
        for _ in range(first, stop):
            bins.choose(mem, b)

    @ti.func
    def share(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """Forces on the particles of slots first to stop - 1."""
        for s in range(first, stop):
            touch.share(mem, b, s)

    @ti.func
    def copy_bars(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """Cotangents of the forces on the particles of slots first to stop - 1."""
        for s in range(first, stop):
            lists.list_bar(mem, b, s)

    @ti.func
    def press_back(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """What the forces on the points of slots first to stop - 1 depend on."""
        for s in range(first, stop):
            back.press_back(mem, b, c, s, row_in)

    @ti.func
    def share_back(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """What they leave to the particles of slots first to stop - 1."""
        for s in range(first, stop):
            back.share_back(mem, b, s)

    listed = {"count": bins.live, "threads": at.particles}
    forces = [
        Pass(make),
        Pass(classify, at.particles),
        Pass(sort),
        Pass(copy, **listed),
        Pass(press, at.points),
        Pass(choose),
        Pass(share, **listed),
    ]
    settles = [Pass(copy_bars, **listed), Pass(press_back, at.points), Pass(share_back, **listed)]
    return touch_stages(setup, forces, settles, has_normals=True)
