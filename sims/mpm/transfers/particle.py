"""What is known of one particle: its state and parameters, the constants of its law, its muscle."""

from functools import cache
from types import SimpleNamespace

from pliant.sims.fields import CONTROL, DT, PARAMETER, STATE
from pliant.sims.mpm import places
from pliant.sims.mpm.laws.yielding import BULK, LAMBDA, MU, VISCOPLASTIC, VON_MISES, YIELD, law_size
from pliant.sims.mpm.places import Setup
from pliant.sims.mpm.stencil import FLOAT_MASK, stencil_functions
from pliant.sims.runtime import ti


@cache
def particle_functions(setup: Setup) -> SimpleNamespace:
    """Where a particle's state and parameters are, the constants of its law, its muscle.

    own_constants: of the law, those that are parameters themselves: where in the law, where in the particle's
    parameters.
    """
    at, dim, fp, kinds, has_muscles = setup.at, setup.dim, setup.fp, setup.kinds, setup.has_muscles
    vec = ti.types.vector(dim, fp)
    load_vec = stencil_functions(setup).load_vec
    law_vec = ti.types.vector(law_size(kinds), fp)
    flow_constants = law_size(kinds) - BULK  # none: -1 or 0
    record, parameters = places.record_size(dim), places.parameter_size(dim, flow_constants > 0)
    own_constants = [(BULK + k, places.FIBRE + dim + k) for k in range(flow_constants)]
    if {VON_MISES, VISCOPLASTIC} & set(kinds):
        own_constants.append((YIELD, places.YIELD))

    @ti.func
    def state_of(mem: ti.template(), row, p):
        """Where particle p's state starts in a row of frames (or its cotangent, in a world's row)."""
        h = ti.static(mem.integers)
        return (row * h[STATE] + h[at.state] + p * record) & FLOAT_MASK

    @ti.func
    def parameters_of(mem: ti.template(), b, p):
        """Where particle p's parameters start."""
        h = ti.static(mem.integers)
        return (b * h[PARAMETER] + h[at.properties] + p * parameters) & FLOAT_MASK

    @ti.func
    def impulse_of(mem: ti.template(), b, p):
        """dt f of the force f that another part has left on particle p. Its cotangent is that of the momentum: that of
        the velocity before the step, over the mass."""
        o = mem.integers[setup.push] + dim * (b * mem.integers[at.count] + p)
        return mem.constants[DT] * load_vec(mem.scratch, o)

    @ti.func
    def law_of(young, nu):
        """Constants of a law but for those that have parameters of their own, 1/(1 + nu) and 1/(1 - 2 nu)."""
        once, twice = fp(1.0) / (fp(1.0) + nu), fp(1.0) / (fp(1.0) - fp(2.0) * nu)
        law = law_vec(0.0)
        law[MU] = fp(0.5) * young * once
        law[LAMBDA] = fp(2.0) * law[MU] * nu * twice
        return law, once, twice

    @ti.func
    def constants_of(mem: ti.template(), q):
        """Constants of the law of the particle whose parameters start at q."""
        law, _once, _twice = law_of(mem.parameters[q + places.YOUNG], mem.parameters[q + places.POISSON])
        for k in ti.static(range(len(own_constants))):
            law[own_constants[k][0]] = mem.parameters[q + own_constants[k][1]]
        return law

    @ti.func
    def control_of(mem: ti.template(), b, p):
        """Index of the control that drives particle p's muscle, or -1."""
        h = ti.static(mem.integers)
        group = h[h[at.info] + 2 * p + 1]
        control = -1
        if group >= 0:
            control = b * h[CONTROL] + h[at.activation] + group
        return control

    @ti.func
    def muscle_of(mem: ti.template(), b, p):
        """Signal (0 without a muscle), strength and fibre of particle p's muscle."""
        signal, strength, fibre = fp(0.0), fp(0.0), vec(0.0)
        if ti.static(has_muscles):
            control = control_of(mem, b, p)
            if control >= 0:
                q = parameters_of(mem, b, p)
                signal, strength = mem.controls[control], mem.parameters[q + places.STRENGTH]
                fibre = load_vec(mem.parameters, q + places.FIBRE)
        return signal, strength, fibre

    return SimpleNamespace(
        own_constants=own_constants,
        state_of=state_of,
        parameters_of=parameters_of,
        impulse_of=impulse_of,
        law_of=law_of,
        constants_of=constants_of,
        control_of=control_of,
        muscle_of=muscle_of,
    )
