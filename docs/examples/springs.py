"""A solver from outside the package: unit masses on springs, v' = v + dt (force - stiffness x), x' = x + dt v'."""

from types import SimpleNamespace

import numpy as np

from pliant.sims.accessors import accessors
from pliant.sims.fields import DT, Needs, Quantity, Record
from pliant.sims.part import Part, Pass, Stage, Stages
from pliant.sims.runtime import ti
from pliant.sims.world import World


class Springs(Part):
    key = ("springs",)
    count = 3

    def needs(self, *, batch, team, differentiable):
        return Needs(
            state=[Record("masses", [Quantity("x", unit="m"), Quantity("v", unit="m/s")], self.count)],
            parameters=[Record("springs", [Quantity("stiffness", unit="N/m")], self.count)],
            controls=[Record("forces", [Quantity("force", unit="N")], self.count)],
            counts={"count": self.count},
        )

    def initial(self):
        return {"x": 0.1, "stiffness": 4.0}  # v is 0

    def stages(self, dim, fp, device):
        x, v, force, stiffness = (vars(accessors(self, fp, device))[name] for name in ("x", "v", "force", "stiffness"))

        @ti.func
        def step(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
            for i in range(first, stop):
                pull = force.load(mem, b, i) - stiffness.load(mem, b, i) * x.load(mem, row_in, i)
                v.store(mem, row_out, i, v.load(mem, row_in, i) + mem.constants[DT] * pull)
                x.store(mem, row_out, i, x.load(mem, row_in, i) + mem.constants[DT] * v.load(mem, row_out, i))

        @ti.func
        def step_adjoint(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
            for i in range(first, stop):
                v.add_bar(mem, b, i, mem.constants[DT] * x.load_bar(mem, b, i))
                pull_bar = mem.constants[DT] * v.load_bar(mem, b, i)
                force.add_bar(mem, b, i, pull_bar)
                stiffness.add_bar(mem, b, i, -x.load(mem, row_in, i) * pull_bar)
                x.add_bar(mem, b, i, -stiffness.load(mem, b, i) * pull_bar)

        return Stages([Stage([Pass(step, self.at.count)], [Pass(step_adjoint, self.at.count)])])


scene = SimpleNamespace(dim=1, parts=lambda **options: [Springs()])
world = World(scene, substeps=50, dt=1e-3, precision="f64", differentiable=True)
world.step(np.zeros((1, 3)))
world.begin_adjoint()
world.load_step(0)
world.add_state_adjoint("x", [[1.0, 0.0, 0.0]])
world.step_adjoint(0)
print("x of the first mass [m]:", world.state("x")[0, 0])
print("its derivative by the stiffness [m^2/N]:", world.parameter_adjoint("stiffness")[0, 0])
