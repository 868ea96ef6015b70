"""Where the programs are that the servers are made of."""

import contextlib
import importlib.util
import os
import pwd
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.local_servers.errors import MissingProgramError

OLDEST_POSTGRES = 15
MODULES = ("psycopg", "psycopg_pool", "pypgstac", "stac_fastapi.pgstac", "uvicorn")


@dataclass(frozen=True, slots=True)
class Tools:
    """Where the programs are."""

    nginx: str
    setpriv: str
    postgres: Path
    """Folder of initdb and postgres."""
    database_user: tuple[int, int] | None
    """User and group that PostgreSQL runs as where we are root, whom it refuses; None for everybody else."""

    @classmethod
    def installed(cls) -> "Tools":
        """Find every program and package, before anything is started.

        Raises:
            MissingProgramError: naming everything that is missing, and what installs it.
        """
        path = os.environ.get("PATH", "") + ":/usr/sbin:/usr/bin:/sbin:/bin"
        nginx, setpriv = shutil.which("nginx", path=path), shutil.which("setpriv", path=path)
        absent = []
        if nginx is None:
            absent.append("nginx (Debian package nginx-light or nginx)")
        if setpriv is None:
            absent.append("setpriv (Debian package util-linux)")
        try:
            postgres = newest_postgres(Path("/usr/lib/postgresql"), Path("/usr/share/postgresql"))
        except MissingProgramError as error:
            absent.append(str(error))
        missing = [module for module in MODULES if not _importable(module)]
        if missing:
            absent.append(f"the Python modules {', '.join(missing)} (pip install 'gl10m[servers]')")
        if nginx is None or setpriv is None or absent:
            raise MissingProgramError(f"local servers need programs that are not here: {'; '.join(absent)}.")
        return cls(nginx, setpriv, postgres, _database_user())

    def wrapped(
        self,
        command: Sequence[str],
        *,
        as_user: tuple[int, int] | None = None,
        with_parent: str | None = None,
    ) -> list[str]:
        """A command run as somebody else, or with a signal when its parent ends; its pid stays the same."""
        options = []
        if as_user:
            options += [f"--reuid={as_user[0]}", f"--regid={as_user[1]}", "--clear-groups"]
        if with_parent:
            options += ["--pdeathsig", with_parent]
        return [self.setpriv, *options, *command] if options else list(command)


def newest_postgres(programs: Path, shared: Path) -> Path:
    """The newest PostgreSQL that has PostGIS, as Debian lays them out.

    Args:
        programs: holds VERSION/bin/initdb.
        shared: holds VERSION/extension/postgis.control.

    Returns:
        Folder of initdb and postgres.

    Raises:
        MissingProgramError: there is none, or none that is new enough and has PostGIS.
    """
    found = [path.parent for path in programs.glob("*/bin/initdb")]
    versions = {int(path.parent.name): path for path in found if path.parent.name.isdecimal()}
    usable = sorted(version for version in versions if version >= OLDEST_POSTGRES)
    if not usable:
        older = ", ".join(sorted(path.parent.name for path in found))
        raise MissingProgramError(
            f"PostgreSQL {OLDEST_POSTGRES} or newer (Debian packages postgresql and postgresql-postgis"
            + (f"; found {older})" if older else ")")
        )
    with_postgis = [one for one in usable if (shared / str(one) / "extension/postgis.control").exists()]
    if not with_postgis:
        raise MissingProgramError(f"PostGIS (Debian package postgresql-{usable[-1]}-postgis-3)")
    return versions[with_postgis[-1]]


def bare_environment() -> dict[str, str]:
    """Nothing of the user's own settings, which could point at another database."""
    return {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "TZ": "UTC"}


def _importable(module: str) -> bool:
    with contextlib.suppress(ModuleNotFoundError):
        return importlib.util.find_spec(module) is not None
    return False


def _database_user() -> tuple[int, int] | None:
    if os.geteuid() != 0:
        return None
    try:
        user = pwd.getpwnam("postgres")
    except KeyError as error:
        raise MissingProgramError(
            "PostgreSQL refuses to run as root and there is no user postgres; "
            "the Debian package postgresql makes one."
        ) from error
    return user.pw_uid, user.pw_gid
