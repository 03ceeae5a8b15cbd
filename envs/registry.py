"""The table of all environments. Adding a task to it registers the task and puts it under every test.

Nothing heavy is imported here: sizes stand in the table, and a test compares them with the tasks themselves.
"""

from __future__ import annotations

from typing import NamedTuple

import gymnasium as gym


class Entry(NamedTuple):
    """A registered task.

    Attributes:
        id: Gymnasium id.
        task: where the task class is, "module:Class".
        horizon: environment steps in an episode.
        action_size: numbers in an action.
        observation_size: numbers in an observation.
        summary: the goal in one line.
        success_score: score from which ``info["is_success"]`` holds, and with ``terminate_on_success=True`` the episode
            ends: one that optimised episodes of several seeds reach. There is no threshold of the return
            (``reward_threshold``): returns depend on the goal that the seed draws, and on the weights of the reward.
    """

    id: str
    task: str
    horizon: int
    action_size: int
    observation_size: int
    summary: str
    success_score: float = 0.7


ENTRIES = (
    Entry(
        "pliant/FingerReach-v0",
        "pliant.envs.locomotion.finger_reach:FingerReach",
        horizon=80,
        action_size=2,
        observation_size=26,
        summary="bend a soft finger with two muscles until its tip reaches a point",
        success_score=0.8,
    ),
    Entry(
        "pliant/ArmReach-v0",
        "pliant.envs.locomotion.arm_reach:ArmReach",
        horizon=50,
        action_size=4,
        observation_size=51,
        summary="bend a soft arm with four muscles until its tip reaches a point and stays there",
        success_score=0.7,
    ),
    Entry(
        "pliant/Walker2D-v0",
        "pliant.envs.locomotion.walker_2d:Walker2D",
        horizon=60,
        action_size=8,
        observation_size=42,
        summary="run to the right on four soft legs in the plane",
        success_score=0.7,
    ),
    Entry(
        "pliant/Crawler3D-v0",
        "pliant.envs.locomotion.crawler_3d:Crawler3D",
        horizon=60,
        action_size=8,
        observation_size=52,
        summary="run along x on four soft legs",
        success_score=0.7,
    ),
    Entry(
        "pliant/Move-v0",
        "pliant.envs.dough.move:Move",
        horizon=50,
        action_size=6,
        observation_size=59,
        summary="push a ball of dough to another place with two round manipulators",
        success_score=0.8,
    ),
    Entry(
        "pliant/RollingPin-v0",
        "pliant.envs.dough.rolling_pin:RollingPin",
        horizon=50,
        action_size=3,
        observation_size=54,
        summary="flatten a block of dough to a rectangle with a rolling pin",
        success_score=0.65,
    ),
    Entry(
        "pliant/Pinch-v0",
        "pliant.envs.dough.pinch:Pinch",
        horizon=30,
        action_size=3,
        observation_size=53,
        summary="press a dent into a block of dough with a ball",
        success_score=0.75,
    ),
    Entry(
        "pliant/Torus-v0",
        "pliant.envs.dough.torus:Torus",
        horizon=30,
        action_size=3,
        observation_size=53,
        summary="press a ring into a block of dough with a ring-shaped mould",
        success_score=0.75,
    ),
    Entry(
        "pliant/Rope-v0",
        "pliant.envs.dough.rope:Rope",
        horizon=50,
        action_size=6,
        observation_size=58,
        summary="wrap a rope of dough around a pillar with two round manipulators",
        success_score=0.75,
    ),
    Entry(
        "pliant/Writer-v0",
        "pliant.envs.dough.writer:Writer",
        horizon=40,
        action_size=3,
        observation_size=54,
        summary="draw a stroke into a sheet of dough with a vertical pen",
        success_score=0.75,
    ),
    Entry(
        "pliant/Assembly-v0",
        "pliant.envs.dough.assembly:Assembly",
        horizon=50,
        action_size=4,
        observation_size=63,
        summary="put one block of dough on another with two rods that close on it",
        success_score=0.7,
    ),
    Entry(
        "pliant/TripleMove-v0",
        "pliant.envs.dough.triple_move:TripleMove",
        horizon=40,
        action_size=18,
        observation_size=101,
        summary="push three boxes of dough to other places with six round manipulators",
        success_score=0.75,
    ),
    Entry(
        "pliant/Chopsticks-v0",
        "pliant.envs.dough.chopsticks:Chopsticks",
        horizon=40,
        action_size=5,
        observation_size=65,
        summary="lift a piece of dough rope with two sticks and turn it",
        success_score=0.75,
    ),
    Entry(
        "pliant/Table-v0",
        "pliant.envs.dough.table:Table",
        horizon=30,
        action_size=3,
        observation_size=61,
        summary="bend a leg of a table of dough with a round manipulator",
        success_score=0.75,
    ),
    Entry(
        "pliant/LatteArt-v0",
        "pliant.envs.fluids.latte_art:LatteArt",
        horizon=55,
        action_size=3,
        observation_size=86,
        summary="pour milk onto coffee so that a given pattern appears",
        success_score=0.8,
    ),
    Entry(
        "pliant/LatteArtStir-v0",
        "pliant.envs.fluids.latte_art_stir:LatteArtStir",
        horizon=45,
        action_size=3,
        observation_size=86,
        summary="stir a patch of milk on coffee into a given pattern",
        success_score=0.75,
    ),
    Entry(
        "pliant/Mixing-v0",
        "pliant.envs.fluids.mixing:Mixing",
        horizon=60,
        action_size=3,
        observation_size=50,
        summary="disperse a blob of milk in coffee with a stirrer",
        success_score=0.65,
    ),
    Entry(
        "pliant/Pouring-v0",
        "pliant.envs.fluids.pouring:Pouring",
        horizon=60,
        action_size=6,
        observation_size=31,
        summary="pour the water out of a glass and keep the milk that lies beneath it",
        success_score=0.8,
    ),
    Entry(
        "pliant/IceCreamStatic-v0",
        "pliant.envs.fluids.ice_cream_static:IceCreamStatic",
        horizon=60,
        action_size=3,
        observation_size=80,
        summary="fill a cone that stands with a swirl of ice cream from a dispenser that moves",
        success_score=0.7,
    ),
    Entry(
        "pliant/IceCreamDynamic-v0",
        "pliant.envs.fluids.ice_cream_dynamic:IceCreamDynamic",
        horizon=60,
        action_size=3,
        observation_size=80,
        summary="fill a cone with a swirl of ice cream by moving it under a dispenser",
        success_score=0.65,
    ),
    Entry(
        "pliant/Transporting-v0",
        "pliant.envs.fluids.transporting:Transporting",
        horizon=40,
        action_size=2,
        observation_size=31,
        summary="push a heavy cube across the floor to a given place with a water jet",
        success_score=0.7,
    ),
    Entry(
        "pliant/GatheringEasy-v0",
        "pliant.envs.fluids.gathering_easy:GatheringEasy",
        horizon=60,
        action_size=3,
        observation_size=27,
        summary="bring two floats to a line across a tank by moving water only",
        success_score=0.9,
    ),
    Entry(
        "pliant/GatheringO-v0",
        "pliant.envs.fluids.gathering_o:GatheringO",
        horizon=60,
        action_size=3,
        observation_size=28,
        summary="bring two floats around an obstacle in a ring tank to a place by moving water only",
        success_score=0.85,
    ),
    Entry(
        "pliant/CableShape-v0",
        "pliant.envs.rods.cable_shape:CableShape",
        horizon=60,
        action_size=12,
        observation_size=125,
        summary="bring a cable held by two grippers to a target shape",
        success_score=0.9,
    ),
    Entry(
        "pliant/BranchedCableShape-v0",
        "pliant.envs.rods.branched_cable_shape:BranchedCableShape",
        horizon=60,
        action_size=12,
        observation_size=188,
        summary="bring a wire harness held by two grippers to a target shape",
        success_score=0.9,
    ),
    Entry(
        "pliant/ThreadInsertion-v0",
        "pliant.envs.rods.thread_insertion:ThreadInsertion",
        horizon=60,
        action_size=12,
        observation_size=111,
        summary="pass the free end of a cable through a ring",
        success_score=0.9,
    ),
    Entry(
        "pliant/CableReplay-v0",
        "pliant.envs.rods.cable_replay:CableReplay",
        horizon=200,
        action_size=4,
        observation_size=102,
        summary="follow a recording of a cable by its stiffness, mass and damping",
        success_score=0.93,
    ),
    Entry(
        "pliant/SurfaceFollow-v0",
        "pliant.envs.tactile.surface_follow:SurfaceFollow",
        horizon=50,
        action_size=6,
        observation_size=19,
        summary="slide a soft fingertip along an unknown surface with a constant force",
        success_score=0.8,
    ),
    Entry(
        "pliant/ObjectRepose-v0",
        "pliant.envs.tactile.object_repose:ObjectRepose",
        horizon=60,
        action_size=6,
        observation_size=33,
        summary="turn a block upright against a wall with a soft fingertip",
        success_score=0.8,
    ),
    Entry(
        "pliant/BoxOpen-v0",
        "pliant.envs.tactile.box_open:BoxOpen",
        horizon=50,
        action_size=6,
        observation_size=27,
        summary="open the hinged lid of a box with a soft fingertip",
        success_score=0.8,
    ),
    Entry(
        "pliant/CableStraighten-v0",
        "pliant.envs.tactile.cable_straighten:CableStraighten",
        horizon=50,
        action_size=7,
        observation_size=93,
        summary="straighten a cable that lies on a table with two soft fingertips",
        success_score=0.8,
    ),
    Entry(
        "pliant/GraspElastic-v0",
        "pliant.envs.tactile.grasp_elastic:GraspElastic",
        horizon=40,
        action_size=7,
        observation_size=60,
        summary="lift an elastic block with two soft fingertips",
        success_score=0.8,
    ),
    Entry(
        "pliant/GraspPlastic-v0",
        "pliant.envs.tactile.grasp_plastic:GraspPlastic",
        horizon=40,
        action_size=7,
        observation_size=60,
        summary="lift a block of plasticine with two soft fingertips and keep its shape",
        success_score=0.7,
    ),
)


def register(entry: Entry) -> None:
    """Make an entry known to Gymnasium, for ``gym.make`` and ``gym.make_vec``."""
    gym.register(
        id=entry.id,
        entry_point="pliant.envs.base:TaskEnv",
        vector_entry_point="pliant.envs.base:TaskVectorEnv",
        max_episode_steps=entry.horizon,
        kwargs={"task": entry.task},
    )


def register_all() -> None:
    """Register every entry that Gymnasium does not know yet."""
    for entry in ENTRIES:
        if entry.id not in gym.registry:
            register(entry)
