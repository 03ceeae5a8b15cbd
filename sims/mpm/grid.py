"""What happens at a grid node: momentum to velocity, damping, gravity, effectors, walls; and the adjoint."""

from functools import cache
from types import SimpleNamespace
from typing import Any

from pliant.sims.contact import contact_functions
from pliant.sims.fields import DT, PARAMETER, PARTIAL, PARTIAL_OFFSET, SUBSTEPS, TEAM
from pliant.sims.mpm.places import Setup
from pliant.sims.mpm.stencil import stencil_functions
from pliant.sims.robot.effector_kernels import effector_functions
from pliant.sims.runtime import ti


@cache
def grid_functions(setup: Setup) -> SimpleNamespace:
    """``velocity`` and ``velocity_adjoint`` of a node, in a scene with effectors of these kinds of shapes (or none)."""
    at, dim, fp, shape_kinds, atomic = setup.at, setup.dim, setup.fp, setup.shape_kinds, setup.device
    eff: Any = setup.eff
    has_effectors = eff is not None
    vec = ti.types.vector(dim, fp)
    mat = ti.types.matrix(dim, dim, fp)
    law = contact_functions(dim, fp)
    effector: Any = effector_functions(eff, dim, fp, shape_kinds, atomic) if has_effectors else None
    add = stencil_functions(setup).add

    @ti.func
    def face_of(mem: ti.template(), node, d):
        """Index of the wall (2 d: low, 2 d + 1: high) that node lies in along axis d, or -1."""
        h = ti.static(mem.integers)
        face = -1
        if node[d] < h[at.thickness]:
            face = 2 * d
        elif node[d] > h[at.extent + d] - h[at.thickness]:
            face = 2 * d + 1
        return face

    @ti.func
    def wall_normal(face, d):
        """Inward unit normal of a face (2 d: low, 2 d + 1: high)."""
        n = vec(0.0)
        n[d] = fp(1.0) - fp(2.0) * (face % 2)
        return n

    @ti.func
    def slowing(mem: ti.template(), b):
        """1 + dt damping, which divides momenta: an implicit step of dv/dt = -damping v."""
        h = ti.static(mem.integers)
        return fp(1.0) + mem.constants[DT] * mem.parameters[b * h[PARAMETER] + h[at.damping]]

    @ti.func
    def free_velocity(mem: ti.template(), b, momentum, mass):
        """mv / (m (1 + dt damping)) + dt g"""
        g = b * mem.integers[PARAMETER] + mem.integers[at.gravity]
        u = momentum / (mass * slowing(mem, b))
        for d in ti.static(range(dim)):
            u[d] += mem.constants[DT] * mem.parameters[g + d]
        return u

    @ti.func
    def velocity(mem: ti.template(), b, c, f, node, momentum, mass):
        """Velocity of a node of mass > 0 at the end of the substep."""
        h = ti.static(mem.integers)
        u = free_velocity(mem, b, momentum, mass)
        if ti.static(has_effectors):
            for j in range(h[eff.count]):
                u = effector.touch(mem, b, c, f, j, node * mem.constants[at.cell], u, mass, True)
        for d in range(dim):  # not unrolled, for the time to compile
            face = face_of(mem, node, d)
            if face >= 0:
                mu = mem.parameters[b * h[PARAMETER] + h[at.wall_friction] + face]
                u = law.respond(u, wall_normal(face, d), h[h[at.wall_kinds] + face], mu)
        return u

    @ti.func
    def through_walls(mem: ti.template(), b, partial, node, u_in, velocity_bar):
        """Velocity after the walls, and the cotangent of the velocity before them."""
        h = ti.static(mem.integers)
        u = u_in
        before = mat(0.0)
        for d in range(dim):
            for k in ti.static(range(dim)):
                before[d, k] = u[k]
            face = face_of(mem, node, d)
            if face >= 0:
                mu = mem.parameters[b * h[PARAMETER] + h[at.wall_friction] + face]
                u = law.respond(u, wall_normal(face, d), h[h[at.wall_kinds] + face], mu)
        u_bar = velocity_bar
        for e in range(dim):
            d = dim - 1 - e
            face = face_of(mem, node, d)
            if face >= 0:
                mu = mem.parameters[b * h[PARAMETER] + h[at.wall_friction] + face]
                u_d = vec(0.0)
                for k in ti.static(range(dim)):
                    u_d[k] = before[d, k]
                bar, _, mu_bar = law.respond_adjoint(u_d, wall_normal(face, d), h[h[at.wall_kinds] + face], mu, u_bar)
                u_bar = bar
                add(mem.scratch, partial + dim + face, mu_bar)
        return u, u_bar

    @ti.func
    def velocity_adjoint(mem: ti.template(), b, c, f, node, momentum, mass, velocity_bar):
        """Velocity again, and the cotangents of momentum and mass.

        u = mv / (s m) + dt g with s = 1 + dt damping:
        mv_bar = u_bar / (s m), m_bar = -mv_bar . mv / m, g_bar = dt u_bar, damping_bar = -dt mv_bar . mv / s.
        """
        h = ti.static(mem.integers)
        partial = h[PARTIAL_OFFSET] + (b * h[TEAM] + c) * h[PARTIAL] + h[at.partial]
        u_free = free_velocity(mem, b, momentum, mass)
        x = node * mem.constants[at.cell]
        count = 0
        if ti.static(has_effectors):
            count = h[eff.count]
        force_scale = fp(1.0) / (mem.constants[DT] * h[SUBSTEPS])
        u_bar = velocity_bar
        mass_bar = fp(0.0)
        u = u_free
        # Pass 0 goes through all effectors and the walls, forward and back; pass e > 0 goes forward as far as effector
        # count - e and back through it. One loop, so that the compiler sees each contact function once.
        for e in range(count + 1):
            stop = count - e
            u_e = u_free
            if ti.static(has_effectors):
                for j in range(stop):
                    u_e = effector.touch(mem, b, c, f, j, x, u_e, mass, False)
                if e > 0:
                    bar, m_bar = effector.touch_adjoint(mem, b, c, f, stop, x, u_e, mass, u_bar, force_scale)
                    u_bar = bar
                    mass_bar += m_bar
            if e == 0:
                u, u_bar = through_walls(mem, b, partial, node, u_e, u_bar)
        slowed = slowing(mem, b)
        momentum_bar = u_bar / (mass * slowed)
        work = momentum_bar.dot(momentum)
        mass_bar -= work / mass
        add(mem.scratch, partial + 3 * dim, -mem.constants[DT] * work / slowed)
        for d in ti.static(range(dim)):
            add(mem.scratch, partial + d, mem.constants[DT] * u_bar[d])
        return u, momentum_bar, mass_bar

    return SimpleNamespace(add=add, velocity=velocity, velocity_adjoint=velocity_adjoint)
