"""How an export that holds no image names the files that do."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import quote, urlsplit

from gl10m.storage.place import BucketPath, Place


class HrefError(ValueError):
    """An address that the files of a data set cannot be below."""


@dataclass(frozen=True, slots=True)
class Hrefs:
    """Addresses of the files of a data set."""

    root: Place
    out: Path
    """Folder of the export."""
    base: str | None
    """Address that the data set is published at; None for where it lies."""

    @classmethod
    def of(cls, root: Place, out: Path, base: str | None) -> Self:
        """Take an address.

        Raises:
            HrefError: it is no http, https, s3, gs or az address, or it holds credentials or a query.
        """
        if base is not None:
            parts = urlsplit(base)
            plain = parts.scheme in {"http", "https", "s3", "gs", "az"} and parts.netloc
            if not plain or "@" in parts.netloc or parts.query or parts.fragment:
                raise HrefError(
                    "--base-url is the address of the data set's folder, http, https, s3, gs or az, without "
                    "user, password and query"
                )
        return cls(root, out, base and base.rstrip("/"))

    @property
    def of_root(self) -> str:
        """Where the data set lies, seen from the export."""
        if self.base is not None:
            return self.base
        return self._relative(self.root, "") if isinstance(self.root, Path) else str(self.root)

    def of_file(self, name: str, seen_from: str) -> str:
        """The href of a file.

        Args:
            name: of the file in the data set: data/CA-00000-of-00003.parquet.
            seen_from: folder below the export in which the href stands; empty for the export itself.
        """
        place = self.root / name
        if self.base is not None:
            return f"{self.base}/{place.key if isinstance(place, BucketPath) else name}"
        if isinstance(place, BucketPath):
            return f"{place.root.address}/{place.key}"
        return self._relative(place, seen_from)

    def _relative(self, place: Path, seen_from: str) -> str:
        here = self.out.resolve() / seen_from
        return quote(Path(os.path.relpath(place.resolve(), here)).as_posix())
