"""Which actuator a task has in a World."""

from __future__ import annotations

from pliant.envs.actuators import Actuator, BoundedActuator, MuscleActuator
from pliant.envs.arms.actuator import ArmActuator
from pliant.envs.gripper_actuator import GripperActuator
from pliant.envs.task import Task
from pliant.sims.world import World


def make_actuator(task: Task, world: World) -> Actuator:
    """Arms or a gripper, if the task has them, else what keeps to the workspace, if it has one; muscles may take their
    time."""
    direct: Actuator
    if task.arms is not None:
        direct = ArmActuator(task, world)
    elif task.gripper is not None:
        direct = GripperActuator(task, world, task.gripper)
    else:
        direct = BoundedActuator(task, world) if task.workspace else Actuator(task, world)
    return direct if task.activation_time is None else MuscleActuator(direct, world, task.activation_time)
