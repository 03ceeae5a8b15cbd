"""``pliant docs``: the pages about environments, and their pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pliant.scripts.errors import CommandError
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
    """Folder to write; pages that it holds are replaced, other files of their names refused."""
    pictures: bool = False
    """Draw each environment after a few gradient steps, too (minutes); else pictures that are there stay."""
    size: int = 320
    """Width and height of each picture in pixels."""


def _check_folder(out: str, names: Sequence[str]) -> None:
    """Refuse a folder in which a page would take the place of a file that is none."""
    from pliant.scripts import pages

    folder = Path(out)
    if not out.strip() or (folder.exists() and not folder.is_dir()):
        raise CommandError(f"out={out!r} must be a folder, or one to be made")
    for name in names:
        file = folder / name
        if file.exists() and not (file.is_file() and file.read_bytes().startswith(pages.MARK.encode())):
            raise CommandError(f"{file} has not been written by `pliant docs`; pass another --out, or remove the file")


def run(arguments: Arguments) -> int:
    """Write the pages, then the pictures."""
    check_range("size", arguments.size, *SIZES)
    import pliant.envs
    from pliant.policies.files.checkpoints import replacing
    from pliant.scripts import pages
    from pliant.scripts.folders import make_folder

    entries, folder = pliant.envs.ENTRIES, Path(arguments.out)
    names = [pages.INDEX, *(f"{pages.file_name(entry)}.md" for entry in entries)]
    _check_folder(arguments.out, names)
    make_folder(folder)
    check_writable(folder)
    texts = dict(zip(names, [pages.index(entries), *(pages.page(entry) for entry in entries)], strict=True))
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
