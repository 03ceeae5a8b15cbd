"""The keywords that every environment takes, whatever its task: their names, their defaults and what they may be."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

from pliant.sims.inputs import flag, shown, whole, word

if TYPE_CHECKING:
    from pliant.sims.robot.kinematics_urdf import AnyArm

RenderMode = Literal["rgb_array"]
Device = Literal["auto", "cpu", "cuda", "vulkan", "metal"]
Precision = Literal["f32", "f64"]
Resolution = Literal["small", "full"]
OnDivergence = Literal["raise", "truncate"]

LONGEST = 100_000
"""Steps of the longest episode: goals may have a row for each."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """How an environment is made, and how it behaves.

    Raises:
        ValueError: a value is out of range, or two do not go together; the message names them and what is allowed.
    """

    render_mode: RenderMode | None = None
    """What ``render`` gives: "rgb_array" or nothing."""
    max_episode_steps: int | None = None
    """Steps after which episodes are truncated, earlier or later than the task says; None: as it says."""
    differentiable: bool = False
    """Record steps, so that ``backward`` and its kin work."""
    device: Device = "auto"
    """Where the simulation runs. "auto" is CUDA if it is there, else a Vulkan device of hardware, else the CPU; "metal"
    is passed on."""
    precision: Precision = "f32"
    """Floating-point type of the simulation; "f64" not on "vulkan"."""
    resolution: Resolution = "small"
    """Size of the simulation: "small" for a CPU, "full" as in the paper that the task comes from."""
    soft_contact: bool = True
    """Contact of manipulators fades in over a short distance; for gradients and reinforcement learning alike."""
    memory: str | int = "2GiB"
    """Budget for the states that the reverse sweep keeps, a size or bytes; the rest is recomputed."""
    parameters: Mapping[str, Any] | None = None
    """Physical or design parameters to override, by name."""
    arm: AnyArm = "none"
    """"none", or the robot arm that holds each end effector: "panda", "iiwa", the path of a URDF file, or a
    `pliant.sims.robot.kinematics_urdf.Model`. Actions are then the joints' velocities, an action of 1 a tenth of the
    limit, and the joint angles end the observation."""
    terminate_on_success: bool = False
    """Terminate the episode when the score reaches the task's ``success_score``."""
    on_divergence: OnDivergence = "raise"
    """"raise" `SimulationDiverged`, or "truncate" the episode: then the info has an entry "diverged", and in the step
    that fails the world stands still: observation and reward are those of where it was."""

    def __post_init__(self) -> None:
        if self.render_mode is not None:
            word("render_mode", self.render_mode, get_args(RenderMode))
        for name in ("differentiable", "soft_contact", "terminate_on_success"):
            object.__setattr__(self, name, flag(name, getattr(self, name)))  # a bool also of NumPy's
        if self.parameters is not None and not isinstance(self.parameters, Mapping):
            raise ValueError(f"parameters={shown(self.parameters)} must be a dict of values by name")
        word("on_divergence", self.on_divergence, get_args(OnDivergence))
        if self.differentiable and self.may_diverge:
            raise ValueError("on_divergence='truncate' does not go with differentiable=True: a tape has no gaps")
        if self.max_episode_steps is not None:
            steps = whole("max_episode_steps", self.max_episode_steps, 1, LONGEST)
            object.__setattr__(self, "max_episode_steps", steps)
        word("resolution", self.resolution, get_args(Resolution))
        word("device", self.device, get_args(Device))
        word("precision", self.precision, get_args(Precision))
        # here, since the command line reads the defaults, and these start half of the simulator
        from pliant.sims.checkpoint import parse_memory
        from pliant.sims.robot.kinematics_urdf import look_up_model

        parse_memory(self.memory)
        if not (isinstance(self.arm, str) and self.arm == "none"):
            look_up_model(self.arm)

    @property
    def may_diverge(self) -> bool:
        """Whether a step that fails ends the episode of its world and is no error."""
        return self.on_divergence == "truncate"


OPTION_NAMES = tuple(field.name for field in fields(Options))
"""Keyword arguments that every environment takes."""


def split_keywords(keywords: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Those of an environment's keywords that are fields of `Options`, and the others, the task's own."""
    common = {name: value for name, value in keywords.items() if name in OPTION_NAMES}
    return common, {name: value for name, value in keywords.items() if name not in OPTION_NAMES}


Constructor = TypeVar("Constructor", bound=Callable[..., None])


def takes_options(constructor: Constructor) -> Constructor:
    """Show the fields of `Options` in the signature of a constructor that takes them among its ``**keywords``."""
    signature = inspect.signature(constructor)
    *others, rest = signature.parameters.values()
    keywords = [
        inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=field.type)
        for field in fields(Options)
    ]
    own = rest.replace(name="config")  # what is left then are the task's own numbers
    constructor.__signature__ = signature.replace(parameters=[*others, *keywords, own])  # type: ignore[attr-defined]
    return constructor
