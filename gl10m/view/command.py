"""What `gl10m view` does."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from gl10m.storage.place import Place
from gl10m.view.catalogue import Catalogue
from gl10m.view.orders import FileOrder, RandomOrder, TileOrder
from gl10m.view.server import ViewServer
from gl10m.view.site import Site
from gl10m.view.static import write_static

STATIC_SCENES: Final = 50
"""Scenes of a folder, unless more are asked for: some 150 MB."""


def site_of(
    root: Place,
    scene_ids: Sequence[str],
    most: int | None,
    order_files: Sequence[Path],
    seed: int,
    *,
    is_static: bool,
) -> Site:
    """The viewer over a data set.

    Args:
        root: the data set.
        scene_ids: scenes to show; all if empty.
        most: scenes to show at most; if None all, and STATIC_SCENES where they are written.
        order_files: orders of tiles beside the random one.
        seed: of the random order.
        is_static: whether the viewer will be written.

    Raises:
        ManifestNotFoundError: no data set stands there.
        ManifestError: its scenes manifest cannot be read.
        SceneNotFoundError: a scene is not in it.
        OrderFileError: an order file is none.
    """
    limit = STATIC_SCENES if most is None and is_static else most
    orders: list[TileOrder] = [*(FileOrder(path) for path in order_files), RandomOrder(seed)]
    return Site(root, Catalogue(root, scene_ids, limit), orders)


def write(site: Site, folder: Path) -> str:
    """Write the viewer into a folder and say so; see `write_static`."""
    size = write_static(site, folder)
    shown = len(site.catalogue)
    return f"wrote {shown:,} scenes, {size / 1e6:.1f} MB: open {folder / 'index.html'} in a browser"


def serve(site: Site, port: int, say: Callable[[str], Any]) -> None:
    """Serve the viewer on the loopback until Ctrl-C.

    Raises:
        OSError: the port is taken.
    """
    with ViewServer(site, port) as server:
        say(f"{len(site.catalogue):,} scenes at {server.address} - Ctrl-C ends it")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            say("ended")
