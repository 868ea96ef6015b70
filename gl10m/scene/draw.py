"""Tiles drawn for a scene: the same on every machine, in every run, whatever else is drawn."""

import hashlib

from gl10m.scene.grid import TILES


def drawn_tiles(count: int, seed: int, epoch: int, scene_id: str) -> list[int]:
    """Draw tiles of a scene, each set of so many as likely as any other.

    The numbers come from one digest: NumPy's generators take as long to set up as two tiles do to read.

    Args:
        count: how many, 0..100.
        seed: of the draw.
        epoch: number of the epoch.
        scene_id: stable name of the scene.

    Returns:
        Numbers of tiles, ascending, none twice.

    Raises:
        ValueError: a scene has not so many tiles.
    """
    if not 0 <= count <= TILES:
        raise ValueError(f"a scene has {TILES} tiles to draw from; asked for {count}")
    # Of many tiles those are drawn that stay out: 50 draws use 311 of the 512 bits, so that none is favoured
    # by more than 2^-200.
    draws = min(count, TILES - count)
    number = int.from_bytes(hashlib.blake2b(f"tiles/{seed}/{epoch}/{scene_id}".encode()).digest())
    pool = list(range(TILES))
    for last in range(TILES - 1, TILES - 1 - draws, -1):
        number, place = divmod(number, last + 1)
        pool[place], pool[last] = pool[last], pool[place]
    drawn, others = pool[TILES - draws :], pool[: TILES - draws]
    return sorted(drawn if draws == count else others)
