"""``pliant docs``: the pages about environments, and their pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pliant.scripts.options import check_range, check_writable

SIZES = (64, 1024)


@dataclass
class Arguments:
    """Write a page in Markdown about each environment, and one that lists them all.

    What they say comes from the registry and from the tasks: run this again when a task changes.

    Examples:
      pliant docs --out docs/environments
      pliant docs --out docs/environments --pictures
    """

    out: str = "environments"
    """Folder to write; pages of the same names are replaced."""
    pictures: bool = False
    """Draw each environment after a few gradient steps, too (minutes); else pictures that are there stay."""
    size: int = 320
    """Width and height of each picture in pixels."""


def run(arguments: Arguments) -> int:
    """Write the pages, then the pictures."""
    check_range("size", arguments.size, *SIZES)
    import pliant.envs
    from pliant.policies.files.checkpoints import replacing
    from pliant.scripts import pages
    from pliant.scripts.folders import make_folder

    entries, folder = pliant.envs.ENTRIES, Path(arguments.out)
    make_folder(folder)
    check_writable(folder)
    texts = {pages.INDEX: pages.index(entries)}
    texts |= {f"{pages.file_name(entry)}.md": pages.page(entry) for entry in entries}
    for name, text in texts.items():
        with replacing(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    print(f"{folder}: {len(texts)} pages")
    if arguments.pictures:
        import imageio.v3 as imageio

        from pliant.scripts.gallery import portrait

        make_folder(folder / pages.PICTURES)
        for entry in entries:
            path = folder / pages.PICTURES / f"{pages.file_name(entry)}.png"
            picture = portrait(entry.id, arguments.size, **pages.code_goals(entry))
            with replacing(path) as temporary:
                imageio.imwrite(temporary, picture, optimize=True)
            print(path, flush=True)
    return 0
