"""Addresses of buckets: s3://, gs:// and az://, without credentials."""

import re
from dataclasses import dataclass
from typing import Final, Self

SCHEMES: Final = ("s3", "gs", "az")
"""Amazon S3 and what speaks its language, Google Cloud Storage, Azure Blob Storage; as fsspec spells them."""

_ADDRESS = re.compile(r"(s3|gs|az)://([A-Za-z0-9][A-Za-z0-9._-]{1,221})(?:/(.*))?", re.DOTALL)
_PART = re.compile(r"[A-Za-z0-9_.=+,-]{1,255}")


class StorageAddressError(ValueError):
    """An address that names no place in a bucket."""


def is_address(text: str) -> bool:
    """Whether a text is meant as an address in a bucket."""
    return text.partition("://")[0].lower() in SCHEMES and "://" in text


@dataclass(frozen=True, slots=True, order=True)
class BucketAddress:
    """A place in a bucket: s3://bucket/some/prefix."""

    scheme: str
    """One of SCHEMES."""
    bucket: str
    """Name of the bucket; of the container on Azure."""
    prefix: str
    """Key prefix without slashes at its ends; empty for the whole bucket."""

    def __str__(self) -> str:
        return f"{self.scheme}://{self.bucket}" + (f"/{self.prefix}" if self.prefix else "")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an address.

        Raises:
            StorageAddressError: another scheme, no bucket, or characters that no prefix of ours has; above
                all credentials and queries, which come from the environment alone.
        """
        found = _ADDRESS.fullmatch(text)
        parts = [part for part in (found[3] or "").split("/") if part] if found else []
        plain = all(_PART.fullmatch(part) and part not in {".", ".."} for part in parts)
        if found is None or not plain:
            raise StorageAddressError(
                "an address in a bucket is s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX, "
                "of letters, digits and . _ - = + , alone. Credentials, endpoint and region come from the "
                f"environment (AWS_*, GOOGLE_APPLICATION_CREDENTIALS, AZURE_*); got {shown(text)!r}"
            )
        return cls(found[1], found[2], "/".join(parts))


def shown(text: str, most: int = 300) -> str:
    """An address as it may be shown: without user name, password, query and fragment.

    Args:
        text: the address.
        most: characters of it that are shown.
    """
    bare = re.split(r"[?#]", text, maxsplit=1)[0][:most]
    scheme, mark, rest = bare.partition("://")
    authority, slash, path = rest.partition("/")
    return f"{scheme}{mark}{authority.rpartition('@')[2]}{slash}{path}" if mark else bare
