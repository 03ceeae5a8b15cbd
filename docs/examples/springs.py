"""A solver of one's own, whole: unit masses on springs, with the adjoint of a substep."""

import numpy as np

from pliant.sims.runtime import ti
from pliant.sims.solver import CONTROL, DT, FREE_HEADER, PARAMETER, STATE, Field, Part, Phases
from pliant.sims.world import World

COUNT, STATE_AT, STIFFNESS_AT, FORCE_AT = range(FREE_HEADER, FREE_HEADER + 4)  # this part's header entries


class Springs(Part):
    """Unit masses on springs: v' = v + dt (force - stiffness x), x' = x + dt v'."""

    key = ("springs",)

    def __init__(self, count):
        self.count = self.elements = count
        self.state_size, self.parameter_size, self.control_size = 2 * count, count, count

    def lay_out(self, state, parameter, control, output):
        self.state_fields = [Field("x", state, (), self.count, 2), Field("v", state + 1, (), self.count, 2)]
        self.parameter_fields = [Field("stiffness", parameter, (), self.count, 1)]
        self.control_fields = [Field("force", control, (self.count,))]

    def initial_state(self):
        return np.tile([0.1, 0.0], self.count)

    def initial_parameters(self):
        return np.full(self.count, 4.0)

    def write_header(self, header, places):
        header[COUNT] = self.count
        header[STATE_AT] = self.state_fields[0].offset
        header[STIFFNESS_AT] = self.parameter_fields[0].offset
        header[FORCE_AT] = self.control_fields[0].offset

    def phases(self, dim, fp):
        @ti.func
        def step(mem: ti.template(), b, c, r_in, r_out, substep):
            h = ti.static(mem.integers)
            dt = mem.constants[DT]
            if c == 0:  # the first member of a team does all the work of this small part
                for i in range(h[COUNT]):
                    s, t = r_in * h[STATE] + h[STATE_AT] + 2 * i, r_out * h[STATE] + h[STATE_AT] + 2 * i
                    k = mem.parameters[b * h[PARAMETER] + h[STIFFNESS_AT] + i]
                    force = mem.controls[b * h[CONTROL] + h[FORCE_AT] + i] - k * mem.frames[s]
                    mem.frames[t + 1] = mem.frames[s + 1] + dt * force
                    mem.frames[t] = mem.frames[s] + dt * mem.frames[t + 1]

        @ti.func
        def step_adjoint(mem: ti.template(), b, c, r_in, r_out, substep):
            # v'_bar += dt x'_bar; force_bar = dt v'_bar; x_bar = x'_bar - k force_bar; k_bar -= x force_bar
            h = ti.static(mem.integers)
            dt = mem.constants[DT]
            if c == 0:
                for i in range(h[COUNT]):
                    s, a = r_in * h[STATE] + h[STATE_AT] + 2 * i, b * h[STATE] + h[STATE_AT] + 2 * i
                    p, u = b * h[PARAMETER] + h[STIFFNESS_AT] + i, b * h[CONTROL] + h[FORCE_AT] + i
                    mem.adjoint[a + 1] += dt * mem.adjoint[a]
                    force_bar = dt * mem.adjoint[a + 1]
                    mem.adjoint[a] -= mem.parameters[p] * force_bar
                    mem.parameter_adjoint[p] -= mem.frames[s] * force_bar
                    mem.control_adjoint[u] += force_bar

        @ti.func
        def begin(mem: ti.template(), b, c, r):
            pass

        @ti.func
        def finish(mem: ti.template(), b, c):
            pass

        return Phases(begin, [step], [step_adjoint], finish, finish)


class Model:
    """What a World takes: an object with a dimension and parts."""

    dim = 1

    def parts(self, *, dt, soft_contact):
        return [Springs(3)]


world = World(Model(), batch=2, substeps=10, dt=1e-3, precision="f64", differentiable=True)


def final_position(stiffness):
    world.reset()
    world.set_parameter("stiffness", stiffness)
    for _ in range(5):
        world.step(np.zeros((2, 3)))
    return world.state("x")[0, 0]


difference = (final_position(4.001) - final_position(3.999)) / 0.002
final_position(4.0)
world.begin_adjoint()
for step in reversed(range(5)):
    world.load_step(step)
    if step == 4:
        world.add_state_adjoint("x", [[1.0, 0, 0], [0, 0, 0]])
    world.step_adjoint(step)
print(f"d x / d stiffness: adjoint {world.parameter_adjoint('stiffness')[0, 0]:.9f}, differences {difference:.9f}")
assert np.isclose(world.parameter_adjoint("stiffness")[0, 0], difference, rtol=1e-6)
