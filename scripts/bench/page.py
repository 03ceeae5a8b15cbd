from typing import Any


def write_page(path: Any, results: Any) -> None:
    """Shim."""
