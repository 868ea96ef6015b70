"""The catalogue of a world folder, and how pgstac is given it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scripts.local_servers import nginx
from scripts.local_servers.errors import ServerError, WorldError


def collections(world: Path) -> list[Path]:
    """Folders of a world's collections.

    Raises:
        WorldError: there is none, one of them is not whole, or nginx cannot serve the folder.
    """
    found = [path.parent for path in sorted(world.glob("stac/*/collection.json"))]
    if not found:
        raise WorldError(
            f"a world has stac/COLLECTION/collection.json; {world} has none. "
            "Make one with `gl10m world --out`."
        )
    bare = [str(folder) for folder in found if not (folder / "items.ndjson").is_file()]
    if bare:
        raise WorldError(
            f"a collection has its items beside it, in items.ndjson; {', '.join(bare)} has not. "
            "Make the world again with `gl10m world --out`."
        )
    if not nginx.speakable(world):
        raise WorldError(
            f"nginx cannot serve a folder with one of {nginx.UNSPEAKABLE} in its path: {world}. Move it."
        )
    return found


def load(database: str, folders: list[Path], http_url: str) -> None:
    """Make the pgstac schema and load every collection of a world.

    Raises:
        WorldError: a file of the catalogue is not JSON, or pgstac refuses its content.
        ServerError: the schema cannot be made, or the database went away.
    """
    import psycopg  # noqa: PLC0415 - the extra is needed only where servers are started
    from pypgstac.db import PgstacDB  # noqa: PLC0415
    from pypgstac.load import Loader  # noqa: PLC0415
    from pypgstac.migrate import Migrate  # noqa: PLC0415

    try:
        with PgstacDB(dsn=database) as db:
            Migrate(db).run_migration()
            loader = Loader(db)
            for folder in folders:
                _load_collection(loader, folder, http_url)
    except psycopg.Error as error:
        raise ServerError(
            f"PostgreSQL could not be given the schema of pgstac and the catalogue: {error} "
            "postgres.log of the run folder says more."
        ) from error


def _load_collection(loader: Any, folder: Path, http_url: str) -> None:  # noqa: ANN401 - pypgstac has no types
    import psycopg  # noqa: PLC0415 - the extra is needed only where servers are started
    from pypgstac.load import Methods  # noqa: PLC0415

    try:
        loader.load_collections(iter([_json(folder / "collection.json")]), Methods.insert)
        loader.load_items(_served_items(folder / "items.ndjson", http_url), Methods.insert)
    except (WorldError, OSError, psycopg.OperationalError):
        raise
    except Exception as error:
        # Beside the errors of psycopg, pypgstac raises bare ones: a collection of another name, no date.
        raise WorldError(
            f"pgstac refuses the catalogue in {folder}: {error!r}. Mend it, or render it again."
        ) from error


def _json(path: Path) -> Any:  # noqa: ANN401 - any JSON
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        raise WorldError(f"{path} is not JSON: {error}") from error


def _served_items(path: Path, http_url: str) -> Iterator[dict[str, Any]]:
    """Items of one collection, relative asset hrefs made absolute."""
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                item = json.loads(line)
                for asset in item["assets"].values():
                    if "://" not in asset["href"]:
                        asset["href"] = f"{http_url}/{asset['href'].lstrip('/')}"
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise WorldError(f"{path}, line {number}: not a STAC item: {error!r}") from error
            yield item
