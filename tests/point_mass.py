"""A task with a known optimum: a particle of the material point method, brought to rest in the middle by a force.

Per axis, with position x from the middle [m], velocity v [m/s] and action a, a substep of h seconds does

    x' = x + h v,   v' = v + h PUSH a

(one particle keeps its velocity on the way to the grid and back, and never deforms). A step of several substeps is
s_{t+1} = A s_t + B a_t with s = (x, v). The reward of a step is the mean over both axes of

    -(POSITION x_{t+1}^2 + VELOCITY v_{t+1}^2 + ACTION a_t^2).

So this is the linear-quadratic regulator over ``HORIZON`` steps: the best actions are a_t = -K_t s_t, the best return
is -s_0' P_0 s_0, mean over axes (Riccati recursion, `gains`). From every start the best actions lie within (-1, 1).

The observation is (x, y, v_x, v_y, sin and cos of pi t / T) with position from the middle.
"""

import gymnasium as gym
import numpy as np

from pliant.envs import features as f
from pliant.envs.base import TaskEnv, TaskVectorEnv
from pliant.envs.task import Observed, Score, Task, Term
from pliant.sims.accessors import accessors
from pliant.sims.fields import DT, Needs, numbers
from pliant.sims.mpm.bodies import Body
from pliant.sims.mpm.scene import Scene
from pliant.sims.part import Part, Pass, Stage, Stages
from pliant.sims.runtime import ti

ID = "test/PointMass-v0"
HORIZON, STEP_TIME, SUBSTEPS = 20, 0.1, 2
PUSH = 4.0  # acceleration of an action of 1 [m/s^2]
POSITION, VELOCITY, ACTION = 1.0, 0.1, 0.3  # weights of the cost
START, START_SPEED = 0.5, 0.1  # each coordinate starts within these bounds [m], [m/s]
CELL, CELLS = 1.0, 32  # no action drives the particle to the walls within an episode [m]
MIDDLE = CELL * CELLS / 2


class Push(Part):
    """v' += dt PUSH a, after the particle has its new velocity from the grid."""

    key = ("push",)

    def __init__(self, bodies):
        self.bodies = bodies

    def needs(self, *, batch, team, differentiable):
        return Needs(controls=[numbers("push", 2)])

    def initial(self):
        return {}

    def stages(self, dim, fp, device):
        my, particles = accessors(self, fp, device), accessors(self.bodies, fp, device)

        @ti.func
        def push(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
            for i in range(first, stop):
                v = particles.velocity.load(mem, row_out, i)
                particles.velocity.store(mem, row_out, i, v + mem.constants[DT] * PUSH * my.push.load(mem, b, 0))

        @ti.func
        def push_adjoint(mem: ti.template(), b, c, first, stop, row_in, row_out, substep):
            # a_bar += dt PUSH v'_bar; the cotangent of the velocity passes through
            for i in range(first, stop):
                my.push.add_bar(mem, b, 0, mem.constants[DT] * PUSH * particles.velocity.load_bar(mem, b, i))

        return Stages([], late=[Stage([Pass(push)], [Pass(push_adjoint)])])


class PushedScene(Scene):
    """A scene of the material point method and the force on its particle."""

    def parts(self, *, dt, soft_contact):
        own = super().parts(dt=dt, soft_contact=soft_contact)
        return [Push(own[-1]), *own]


class PointMass(Task):
    """See the head of this file."""

    summary = "bring a particle to rest in the middle by a force"
    horizon = HORIZON
    step_time = STEP_TIME
    substeps = {"small": SUBSTEPS, "full": SUBSTEPS}

    def make_scene(self):
        body = Body("mass", np.full((1, 2), MIDDLE), volume=0.01, youngs_modulus=1.0, density=1000.0)
        return PushedScene(dim=2, grid=[CELLS, CELLS], cell=CELL, bodies=[body], gravity=(0.0, 0.0))

    def make_action(self):
        return {"push": np.eye(2)}

    def make_observation(self):
        self.place, self.velocity = f.centre([0], 2), f.mean_velocity([0], 2)
        return [Observed(self.place, offset=MIDDLE), Observed(self.velocity), Observed(f.Phase())]

    def make_reward(self):
        self.offset = f.Offset("offset", self.place, "middle")
        return [
            Term(f.SquaredNorm("position", self.offset), -POSITION),
            Term(f.SquaredNorm("velocity", self.velocity), -VELOCITY),
            Term(f.action_cost(2), -ACTION),
        ]

    def make_score(self):
        return Score(f.Distance("distance", self.offset), goal=0.0)

    def make_goal(self, rng):
        return {"middle": np.full(2, MIDDLE)}

    def make_initial_state(self, rng):
        return {
            "position": MIDDLE + rng.uniform(-START, START, (1, 2)),
            "velocity": rng.uniform(-START_SPEED, START_SPEED, (1, 2)),
        }


def register():
    """Register ``ID`` once, for `gymnasium.make` and `gymnasium.make_vec`."""
    if ID not in gym.registry:
        gym.register(
            ID,
            entry_point=TaskEnv,
            vector_entry_point=TaskVectorEnv,
            kwargs={"task": PointMass},
            order_enforce=False,
        )


def make(num_envs=None, **options):
    """One world, or a batch of them, in float64 unless told otherwise."""
    options = {"precision": "f64", **options}
    return TaskEnv(PointMass, **options) if num_envs is None else TaskVectorEnv(PointMass, num_envs, **options)


def dynamics():
    """A, shape (2, 2), and B, shape (2,), of s_{t+1} = A s_t + B a_t for s = (x, v) of one axis."""
    h = STEP_TIME / SUBSTEPS
    substep, push = np.array([[1.0, h], [0.0, 1.0]]), np.array([0.0, h * PUSH])
    transition, effect = np.eye(2), np.zeros(2)
    for _ in range(SUBSTEPS):
        transition, effect = substep @ transition, substep @ effect + push
    return transition, effect


def gains(horizon=HORIZON):
    """K_t of the best action a_t = -K_t s_t, shape (horizon, 2), and P_0 of the cost s_0' P_0 s_0, shape (2, 2)."""
    transition, effect = dynamics()
    cost = np.diag([POSITION, VELOCITY])
    rest, feedback = np.zeros((2, 2)), []
    for _ in range(horizon):
        after = cost + rest
        gain = np.linalg.solve([[ACTION + effect @ after @ effect]], [effect @ after @ transition])[0]
        rest = transition.T @ after @ (transition - np.outer(effect, gain))
        feedback.append(gain)
    return np.array(feedback[::-1]), rest


def start_of(env, seed):
    """States (x, v) of both axes after a reset with ``seed``, shape (2 quantities, 2 axes); resets the environment."""
    env.reset(seed=seed)
    return np.stack([env.state("position")[0] - MIDDLE, env.state("velocity")[0]])


def best_actions(start, horizon=HORIZON):
    """The best actions from ``start``, shape (2 quantities, 2 axes), in closed form: shape (horizon, 2)."""
    transition, effect = dynamics()
    state, actions = np.asarray(start, float), []
    for gain in gains(horizon)[0]:
        actions.append(-gain @ state)
        state = transition @ state + np.outer(effect, actions[-1])
    return np.array(actions)


def best_return(start, horizon=HORIZON):
    """The return of `best_actions`."""
    rest = gains(horizon)[1]
    return -float(np.mean([state @ rest @ state for state in np.asarray(start, float).T]))
