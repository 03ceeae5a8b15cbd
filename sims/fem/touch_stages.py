"""The frame of the contact of gels with something else: what both kinds of contact do with the points of gels."""

from collections.abc import Sequence

from pliant.sims.fem.touch_places import TouchSetup
from pliant.sims.fem.touch_points import point_functions
from pliant.sims.part import Pass, Stage, Stages
from pliant.sims.runtime import ti


def touch_stages(setup: TouchSetup, forces: Sequence[Pass], settles: Sequence[Pass], has_normals: bool) -> Stages:
    """Forces at the start of a substep. In reverse they are found again before the steps of gels and of what touches
    them, which take them up, and pulled back after them.

    Args:
        setup: of the contact.
        forces: passes that make the forces, once the points have been located.
        settles: passes that pull them back to the points and to what touches them.
        has_normals: whether the forces depend on the normals of the points.
    """
    points = point_functions(setup)

    @ti.func
    def locate(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """Places, velocities and normals of points first to stop - 1."""
        for i in range(first, stop):
            points.locate(mem, b, i, row_in)

    @ti.func
    def settle(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """What points first to stop - 1 leave to nodes and mounts."""
        for i in range(first, stop):
            points.settle(mem, b, c, i, row_in, has_normals)

    at = setup.at
    forward = [Pass(locate, at.points), *forces]
    backward = [*settles, Pass(settle, at.points), Pass(points.settle_effectors, setup.gel.eff.count)]
    return Stages(
        substep=[Stage(forward, backward)],
        late=[Stage([], forward)],
        begin=[Pass(points.clear_sums, at.sum_count, alone=True)],
        finish_adjoint=[Pass(points.add_sums)],
    )
