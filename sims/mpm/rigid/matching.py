"""Shape matching of rigid bodies (Mueller et al. 2005) on positions and velocities, and its adjoint.

After the grid has moved the particles of a body, each by itself, to x* with velocities v* and affine velocities C*,
they are put back into their rest shape X and go on as one rigid body. With mass shares s = m / M, means c, V and X0 of
x*, v* and X, xi = x* - c, rho = X - X0 and D = cell^2 / 4, the second moment of the spline weights,

    B = sum s xi rho^T,  R the rotation nearest B (never a reflection),  r = R rho,         x' = c + r
    L = sum s (xi x (v* - V) + D axial(C*)),   axial(C)_i = eps_ijk C_kj
    J = (tr S + 2 D) 1 - S,  S = sum s rho rho^T,   w = R J^-1 R^T L,          v' = V + w x r,  C' = [w]x + sym C*

(in 2-D w and L are numbers and J = tr S + 2 D). The affine velocities count in L and in J as they do in what reaches
the grid (Jiang et al. 2015), so linear and angular momentum are conserved. Sums over a body are formed in double
precision whatever the state's is: they would lose digits with the number of particles.

Why the symmetric part of C* stays: it lets the particles' deformation gradients feel how contact squeezes and shears
the body, as those of an elastic body do, and the stress carries the load. Without it (C' = [w]x, no stress) the nodes
in contact stop their own share a of the body's mass only, and a body at rest sinks into the floor, and slips out of
any grip, at g dt (1 - a) / a. The elastic constants are thus those of a skin that resists penetration; they do not let
the body deform.

Adjoint. In R only the rotation of B counts: with dR = R [u]x and P = R^T B, symmetric, (tr P - P) u = axial(R^T dB).
The means within xi, rho and v* - V contribute nothing, as the factors beside them sum to zero. So with

    c_bar = sum x'_bar,  V_bar = sum v'_bar,  r_bar = x'_bar - w x v'_bar,  w_bar = sum (r x v'_bar + axial(C'_bar)),
    l_bar = J^-1 R^T w_bar,  L_bar = R l_bar,  J_bar = -l_bar (R^T w)^T,  S_bar = tr(J_bar) - sym(J_bar),
    R_bar = sum r_bar rho^T + w_bar (R^T w)^T + L l_bar^T,  B_bar = R [(tr P - P)^-1 axial(R^T R_bar)]x,
    X0_bar = -R^T sum r_bar

    x*_bar = s (c_bar + B_bar rho - L_bar x (v* - V)),   v*_bar = s (V_bar + L_bar x xi),
    C*_bar = s D [L_bar]x + sym C'_bar
    M m_bar = c_bar . xi + V_bar . (v* - V) + X0_bar . rho + B_bar : xi rho^T + L_bar . (xi x (v* - V) + D axial(C*)
              - L) + S_bar : (rho rho^T - S)
"""

from functools import cache
from types import SimpleNamespace

from pliant.sims.fields import DT, PARAMETER, STATE
from pliant.sims.math.angular import angular_functions
from pliant.sims.math.products import product_functions
from pliant.sims.math.svd import svd_functions
from pliant.sims.mpm import places
from pliant.sims.mpm.laws.yielding import BULK, law_size
from pliant.sims.mpm.places import Setup
from pliant.sims.mpm.rigid.bodies import ROW
from pliant.sims.mpm.stencil import FLOAT_MASK, stencil_functions
from pliant.sims.part import Pass, Stage
from pliant.sims.runtime import ti

WIDE = ti.f64


@cache
def _particle_functions(setup: Setup) -> SimpleNamespace:
    """Where the particles of rigid bodies keep what shape matching reads, and that itself, in double precision."""
    at, dim, kinds = setup.at, setup.dim, setup.kinds
    turns = 1 if dim == 2 else 3
    kept_size = places.rigid_record_size(dim)
    vec = ti.types.vector(dim, WIDE)
    spin = ti.types.vector(turns, WIDE)
    stencil = stencil_functions(setup)
    load_vec = stencil.load_vec
    axial = angular_functions(dim, WIDE).axial
    record, parameters = places.record_size(dim), places.parameter_size(dim, law_size(kinds) > BULK)
    V_AT, C_AT = dim, 2 * dim

    @ti.func
    def body(mem: ti.template(), k):
        """First particle, number of particles and first place of body k."""
        o = mem.integers[at.rigid_table] + ROW * k
        return mem.integers[o], mem.integers[o + 1], mem.integers[o + 2]

    @ti.func
    def state_of(mem: ti.template(), row, p):
        """Where particle p's state starts in a row."""
        h = ti.static(mem.integers)
        return (row * h[STATE] + h[at.state] + p * record) & FLOAT_MASK

    @ti.func
    def kept_of(mem: ti.template(), row, place):
        """Where v* and axial(C*) of the rigid particle ``place`` are kept in a row."""
        h = ti.static(mem.integers)
        return (row * h[STATE] + h[at.state] + h[at.count] * record + place * kept_size) & FLOAT_MASK

    @ti.func
    def velocity_before(mem: ti.template(), row, place):
        """v* of the rigid particle ``place`` in the substep that led to ``row``."""
        return load_vec(mem.frames, kept_of(mem, row, place))

    @ti.func
    def wide_vec(a: ti.template(), o):
        """Vector at o in double precision."""
        return ti.cast(load_vec(a, o), WIDE)

    @ti.func
    def wide_mat(a: ti.template(), o):
        """Matrix at o in double precision."""
        return ti.cast(stencil.load_mat(a, o), WIDE)

    @ti.func
    def rest(mem: ti.template(), place):
        """Rest position X of the rigid particle ``place`` [m]."""
        return wide_vec(mem.constants, mem.integers[at.rigid_rest] + place * dim)

    @ti.func
    def mass_of(mem: ti.template(), b, p):
        """Volume and mass, and where the density stands."""
        h = ti.static(mem.integers)
        q = b * h[PARAMETER] + h[at.properties] + p * parameters + places.DENSITY
        volume = ti.cast(mem.constants[h[at.volumes] + p], WIDE)
        return volume, volume * ti.cast(mem.parameters[q], WIDE), q

    @ti.func
    def moved(mem: ti.template(), r_in, r_out, p, place, is_reverse: ti.template()):
        """x*, v*, axial(C*) of a particle, read from where they are when the projection or its adjoint runs."""
        x, v, a = vec(0.0), vec(0.0), spin(0.0)
        if ti.static(is_reverse):
            o = kept_of(mem, r_out, place)
            v = wide_vec(mem.frames, o)
            x = wide_vec(mem.frames, state_of(mem, r_in, p)) + ti.cast(mem.constants[DT], WIDE) * v
            for i in ti.static(range(turns)):
                a[i] = ti.cast(mem.frames[o + dim + i], WIDE)
        else:
            o = state_of(mem, r_out, p)
            x = wide_vec(mem.frames, o)
            v = wide_vec(mem.frames, o + V_AT)
            a = axial(wide_mat(mem.frames, o + C_AT))
        return x, v, a

    return SimpleNamespace(
        body=body,
        state_of=state_of,
        kept_of=kept_of,
        velocity_before=velocity_before,
        wide_vec=wide_vec,
        wide_mat=wide_mat,
        rest=rest,
        mass_of=mass_of,
        moved=moved,
    )


@cache
def _sum_functions(setup: Setup) -> SimpleNamespace:
    """What shape matching sums up over body k: ``means`` and ``moments``; and ``affine_moment``, D."""
    at, dim = setup.at, setup.dim
    vec = ti.types.vector(dim, WIDE)
    mat = ti.types.matrix(dim, dim, WIDE)
    spin = ti.types.vector(1 if dim == 2 else 3, WIDE)
    particles = _particle_functions(setup)
    body, moved, mass_of, rest = particles.body, particles.moved, particles.mass_of, particles.rest
    cross = angular_functions(dim, WIDE).cross

    @ti.func
    def affine_moment(mem: ti.template()):
        """D"""
        cell = ti.cast(mem.constants[at.cell], WIDE)
        return cell * cell * WIDE(0.25)

    @ti.func
    def means(mem: ti.template(), b, k, r_in, r_out, is_reverse: ti.template()):
        """Mass M and the means c, V, X0 of body k."""
        first, n, place = body(mem, k)
        M, c, V, X0 = WIDE(0.0), vec(0.0), vec(0.0), vec(0.0)
        for i in range(n):
            x, v, _a = moved(mem, r_in, r_out, first + i, place + i, is_reverse)
            _volume, m, _q = mass_of(mem, b, first + i)
            M += m
            c += m * x
            V += m * v
            X0 += m * rest(mem, place + i)
        return M, c / M, V / M, X0 / M

    @ti.func
    def moments(mem: ti.template(), b, k, r_in, r_out, M, c, V, X0, is_reverse: ti.template()):
        """B, S and L of body k."""
        first, n, place = body(mem, k)
        D = affine_moment(mem)
        B, S, L = mat(0.0), mat(0.0), spin(0.0)
        for i in range(n):
            x, v, a = moved(mem, r_in, r_out, first + i, place + i, is_reverse)
            _volume, m, _q = mass_of(mem, b, first + i)
            rho = rest(mem, place + i) - X0
            B += (m * (x - c)).outer_product(rho)
            S += (m * rho).outer_product(rho)
            L += m * (cross(x - c, v - V) + D * a)
        return B / M, S / M, L / M

    return SimpleNamespace(affine_moment=affine_moment, means=means, moments=moments)


@cache
def rigid_functions(setup: Setup) -> SimpleNamespace:
    """Functions of body k: ``project(mem, b, k, r_out)`` and ``project_adjoint(mem, b, k, r_in, r_out)``.

    ``velocity_before(mem, row, place)``: v* of the rigid particle ``place``, of the substep that led to ``row``.

    What the reverse sweep needs of the moved particles, v* and axial(C*), stands in the row behind the particles'
    records; x* follows from it.
    """
    dim, fp = setup.dim, setup.fp
    turns = 1 if dim == 2 else 3
    vec = ti.types.vector(dim, WIDE)
    mat = ti.types.matrix(dim, dim, WIDE)
    spin = ti.types.vector(turns, WIDE)
    stencil = stencil_functions(setup)
    store_vec, store_mat = stencil.store_vec, stencil.store_mat
    products = product_functions(dim, WIDE)
    svd = svd_functions(dim, WIDE).svd
    angular = angular_functions(dim, WIDE)
    cross, turn, axial, skew, solve = angular.cross, angular.turn, angular.axial, angular.skew, angular.solve
    to_world, to_body = angular.to_world, angular.to_body
    particles = _particle_functions(setup)
    body, state_of, kept_of, moved = particles.body, particles.state_of, particles.kept_of, particles.moved
    wide_vec, wide_mat, rest, mass_of = particles.wide_vec, particles.wide_mat, particles.rest, particles.mass_of
    sums = _sum_functions(setup)
    affine_moment, means, moments = sums.affine_moment, sums.means, sums.moments
    V_AT, C_AT = dim, 2 * dim

    @ti.func
    def rotation(B):
        """R = U W^T, the rotation nearest B = U diag(sigma) W^T."""
        U, _sigma, W = svd(B)
        return products.multiply_transposed(U, W)

    @ti.func
    def project(mem: ti.template(), b, k, r_out):
        """Puts the particles of body k in the next frame back into its shape."""
        first, n, place = body(mem, k)
        M, c, V, X0 = means(mem, b, k, r_out, r_out, False)
        B, S, L = moments(mem, b, k, r_out, r_out, M, c, V, X0, False)
        R = rotation(B)
        w = to_world(R, solve(S.trace() + WIDE(2.0) * affine_moment(mem), S, to_body(R, L)))
        turning = skew(w)
        for i in range(n):
            _x, v, a = moved(mem, r_out, r_out, first + i, place + i, False)
            kept = kept_of(mem, r_out, place + i)
            store_vec(mem.frames, kept, ti.cast(v, fp))
            for j in ti.static(range(turns)):
                mem.frames[kept + dim + j] = ti.cast(a[j], fp)
            o = state_of(mem, r_out, first + i)
            r = stencil.apply(R, rest(mem, place + i) - X0)
            store_vec(mem.frames, o, ti.cast(c + r, fp))
            store_vec(mem.frames, o + V_AT, ti.cast(V + turn(w, r), fp))
            C = wide_mat(mem.frames, o + C_AT)
            store_mat(mem.frames, o + C_AT, ti.cast(turning + WIDE(0.5) * (C + C.transpose()), fp))

    @ti.func
    def project_adjoint(mem: ti.template(), b, k, r_in, r_out):
        """Cotangents of body k of the next frame become those of x*, v* and C* (in place)."""
        first, n, place = body(mem, k)
        D = affine_moment(mem)
        M, c, V, X0 = means(mem, b, k, r_in, r_out, True)
        B, S, L = moments(mem, b, k, r_in, r_out, M, c, V, X0, True)
        R = rotation(B)
        trace = S.trace() + WIDE(2.0) * D
        w_body = solve(trace, S, to_body(R, L))
        w = to_world(R, w_body)
        c_bar, V_bar, w_bar, R_bar = vec(0.0), vec(0.0), spin(0.0), mat(0.0)
        for i in range(n):
            a = state_of(mem, b, first + i)
            rho = rest(mem, place + i) - X0
            x_bar = wide_vec(mem.adjoint, a)
            v_bar = wide_vec(mem.adjoint, a + V_AT)
            c_bar += x_bar
            V_bar += v_bar
            w_bar += cross(stencil.apply(R, rho), v_bar) + axial(wide_mat(mem.adjoint, a + C_AT))
            R_bar += (x_bar - turn(w, v_bar)).outer_product(rho)
        X0_bar = -stencil.apply_transposed(R, c_bar - turn(w, V_bar))
        l_bar = solve(trace, S, to_body(R, w_bar))
        L_bar = to_world(R, l_bar)
        S_bar = mat(0.0)
        if ti.static(dim == 3):
            R_bar += w_bar.outer_product(w_body) + L.outer_product(l_bar)
            for i in ti.static(range(dim)):
                S_bar[i, i] -= l_bar.dot(w_body)
                for j in ti.static(range(dim)):
                    S_bar[i, j] += WIDE(0.5) * (l_bar[i] * w_body[j] + l_bar[j] * w_body[i])
        else:
            for i in ti.static(range(dim)):
                S_bar[i, i] = -l_bar[0] * w_body[0]
        P = products.transposed_multiply(R, B)
        u = solve(P.trace(), WIDE(0.5) * (P + P.transpose()), axial(products.transposed_multiply(R, R_bar)))
        B_bar = products.multiply(R, skew(u))
        C_bar = D / M * skew(L_bar)
        mean = L_bar.dot(L)
        for i in ti.static(range(dim)):
            for j in ti.static(range(dim)):
                mean += S_bar[i, j] * S[i, j]
        for i in range(n):
            x, v, spun = moved(mem, r_in, r_out, first + i, place + i, True)
            volume, m, q = mass_of(mem, b, first + i)
            rho = rest(mem, place + i) - X0
            xi, dv = x - c, v - V
            B_rho = stencil.apply(B_bar, rho)
            a = state_of(mem, b, first + i)
            store_vec(mem.adjoint, a, ti.cast(m / M * (c_bar + B_rho - turn(L_bar, dv)), fp))
            store_vec(mem.adjoint, a + V_AT, ti.cast(m / M * (V_bar + turn(L_bar, xi)), fp))
            C_next_bar = wide_mat(mem.adjoint, a + C_AT)
            own_C_bar = m * C_bar + WIDE(0.5) * (C_next_bar + C_next_bar.transpose())
            store_mat(mem.adjoint, a + C_AT, ti.cast(own_C_bar, fp))
            m_bar = (c_bar + B_rho).dot(xi) + V_bar.dot(dv) + X0_bar.dot(rho) - mean
            m_bar += L_bar.dot(cross(xi, dv) + D * spun) + rho.dot(stencil.apply(S_bar, rho))
            mem.parameter_adjoint[q] = mem.parameter_adjoint[q] + ti.cast(volume * m_bar / M, fp)

    return SimpleNamespace(project=project, project_adjoint=project_adjoint, velocity_before=particles.velocity_before)


@cache
def rigid_stage(setup: Setup) -> Stage:
    """Shapes of the rigid bodies, after their particles have moved each for itself."""
    rigid = rigid_functions(setup)

    @ti.func
    def match(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """``project`` of bodies first to stop - 1."""
        for k in range(first, stop):
            rigid.project(mem, b, k, row_out)

    @ti.func
    def match_adjoint(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
        """``project_adjoint`` of bodies first to stop - 1."""
        for k in range(first, stop):
            rigid.project_adjoint(mem, b, k, row_in, row_out)

    return Stage([Pass(match, setup.at.rigid_count)], [Pass(match_adjoint, setup.at.rigid_count)])
