"""A soft dome that a ball is pressed into: force, torque, what its markers do, and the derivative of the force."""

import numpy as np

from pliant.sims.fem.gels import gel_mesh
from pliant.sims.fem.scene import Gel, GelScene
from pliant.sims.robot.effector import Effector
from pliant.sims.shapes.shapes import Cylinder, Sphere
from pliant.sims.world import World

mesh = gel_mesh("dome", nodes=300)  # or "pad", "gelsight_mini", "digit"
mount = Effector("mount", Cylinder(0.015, 0.002), (0.0, 0.0, 0.0))
ball = Effector("ball", Sphere(0.006), (0.0003, 0.0002, 0.0209))
world = World(GelScene([Gel(mesh, "mount")], [mount, ball]), substeps=1, dt=0.01, differentiable=True)
for _ in range(5):
    world.step([[0, 0, 0, 0, 0, 0, 0, 0, -0.02, 0, 0, 0]])
print("force on the gel [N]:", world.output("gel_force")[0, 0])

world.begin_adjoint()
world.load_step(4)
world.add_output_adjoint("gel_force", np.array([[[0.0, 0.0, 1.0]]]))
world.step_adjoint(4)
print("its derivative by Young's modulus [N/Pa]:", world.parameter_adjoint("gel_youngs_modulus")[0, 0])
