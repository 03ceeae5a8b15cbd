"""``pliant tactile view``: the scene, the markers and the image of each sensor, side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pliant.scripts.errors import CommandError
from pliant.scripts.options import output_file

if TYPE_CHECKING:
    from pliant.scripts.tactile.options import View

HEIGHT = 360
"""Of each part of the picture [pixels]."""

ARROWS = 3.0
"""How much longer than the motions of the markers their arrows are."""


def view(arguments: View) -> int:
    """Play the episode, draw, write."""
    import cv2
    import imageio.v3 as imageio
    import numpy as np

    from pliant.envs.tactile.tactile_task import TactileTask
    from pliant.policies.files.checkpoints import replacing
    from pliant.scripts.environments import make, resolve

    out = output_file(arguments.out, ".png")
    if arguments.steps < 1 or arguments.seed < 0:
        raise CommandError("--steps must be at least 1, --seed at least 0")
    env = make(resolve(arguments.env), render_mode="rgb_array")
    try:
        if not isinstance(env.task, TactileTask):
            raise CommandError(f"{arguments.env!r} has no tactile sensor")
        actions = _actions(arguments, env.task.action_size)
        env.reset(seed=arguments.seed)
        for action in actions[: min(arguments.steps, env.task.horizon)]:
            env.step(action)
        parts = [env.render(), *(part for gel in range(len(env.task.scene.gels)) for part in _sensor(env, gel))]
    finally:
        env.close()
    scaled = [cv2.resize(part, (round(part.shape[1] * HEIGHT / part.shape[0]), HEIGHT)) for part in parts]
    with replacing(out) as temporary:
        imageio.imwrite(temporary, np.concatenate(scaled, axis=1), extension=".png")
    print(out)
    return 0


def _actions(arguments: View, size: int) -> Any:
    """Actions (T, A) of a run, or those that press on."""
    import numpy as np

    if not arguments.actions:
        return np.full((arguments.steps, size), 0.3, np.float32)
    try:
        with np.load(arguments.actions, allow_pickle=False) as data:
            found = np.asarray(data["actions"] if "actions" in data else data[data.files[0]], np.float32)
    except (OSError, ValueError, IndexError) as error:
        raise CommandError(f"--actions {arguments.actions!r} cannot be read: {error}") from None
    if found.shape[-1] != size:
        raise CommandError(f"--actions {arguments.actions!r} has actions of {found.shape[-1]} numbers, not {size}")
    return found.reshape(-1, size)


def _sensor(env: Any, gel: int) -> list[Any]:
    """Pictures of the markers and of the colours that the sensor behind a gel sees, uint8 (h, w, 3) each."""
    import numpy as np

    from pliant.envs.tactile.tactile_task import make_sensor
    from pliant.sims.sensor.markers import draw_markers

    scene = env.task.scene
    mesh = scene.gels[gel].mesh
    first = sum(other.mesh.free_count for other in scene.gels[:gel])
    nodes = mesh.positions[None].copy()
    nodes[:, : mesh.free_count] += np.asarray(env.state("gel_displacement"), float).reshape(1, -1, 3)[
        :, first : first + mesh.free_count
    ]
    seen = make_sensor(mesh)
    assert seen.markers is not None
    marked = draw_markers(seen.markers, seen.markers.read(nodes), gain=ARROWS)
    colours = make_sensor(mesh, picture=True, size=(320, 240)).read(["image"], nodes)["image"][0]
    return [marked, np.clip(np.rint(colours), 0, 255).astype(np.uint8)]
