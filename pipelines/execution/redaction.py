"""What looks like a credential is taken out of texts and errors before they are written or travel."""

import os
import re
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pipelines.sources.asset_urls import without_queries

HIDDEN = "***"
"""Stands where a credential stood."""

_NAMES = (
    r"signature|secret|token|password|passwd|access_?key|account_?key|api_?key|subscription_?key|credential"
)

_SHAPES = (
    (re.compile(r"(?i)\b(bearer|basic|sharedkey)\s+[A-Za-z0-9._~+/=:-]{8,}"), rf"\1 {HIDDEN}"),
    (re.compile(r"://[^\s/@'\"<>]*@"), f"://{HIDDEN}@"),
    (
        re.compile(
            rf"(?i)\b([\w-]*(?:{_NAMES})[\w-]*|sig)(\\?['\"]?\s*[=:]\s*\\?['\"]?)(?!\*\*\*)[^\s'\",;&<>}})\]\\]+"
        ),
        rf"\1\2{HIDDEN}",
    ),
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"), HIDDEN),
)
"""Shapes that a credential has in the text of an error, with what is written in its place."""

_OF_ENVIRONMENT = re.compile(rf"(?i){_NAMES}|(?<![a-z])key(?![a-z])")
"""Names of environment variables whose values are credentials; these are known whatever their shape."""

_SHORTEST = 8
"""A value of fewer characters may be a word of any text."""

_DEEPEST = 20
"""Causes of causes that are looked at; what lies deeper is cut off."""

_Task = TypeVar("_Task")
_Result = TypeVar("_Result")


class RedactedError(RuntimeError):
    """An error whose own class would have told a credential; says the same without."""


def redact(text: str) -> str:
    """A text without queries of addresses and without what is or looks like a credential."""
    shown = text
    for name, value in os.environ.items():
        if len(value) >= _SHORTEST and value in shown and _OF_ENVIRONMENT.search(name):
            shown = shown.replace(value, HIDDEN)
    shown = without_queries(shown)
    for shape, instead in _SHAPES:
        shown = shape.sub(instead, shown)
    return shown


def redacted_facts(value: Any) -> Any:  # noqa: ANN401 - whatever JSON can hold
    """The same value with all its texts redacted."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {str(name): redacted_facts(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [redacted_facts(each) for each in value]
    return value


def scrubbed(error: BaseException) -> BaseException:
    """The error if neither it nor what led to it tells a credential; else one like it that does not.

    Its class is kept where a new one can be made of a text, and so are its notes and its traceback.
    """
    whole = "".join(traceback.format_exception(error))
    return error if redact(whole) == whole else _copy(error, _DEEPEST)


def _copy(error: BaseException, depth: int) -> BaseException:
    copy = _alike(error, redact(str(error)))
    copy.__traceback__ = error.__traceback__
    for note in getattr(error, "__notes__", ()):
        copy.add_note(redact(str(note)))
    if depth:
        copy.__cause__ = None if error.__cause__ is None else _copy(error.__cause__, depth - 1)
        copy.__context__ = None if error.__context__ is None else _copy(error.__context__, depth - 1)
    copy.__suppress_context__ = error.__suppress_context__
    return copy


def _alike(error: BaseException, text: str) -> BaseException:
    """An error of the same class that says this text and holds nothing else."""
    kind = type(error)
    try:
        made = kind.__new__(kind)
        made.args = (text,)
        if str(made) == text:
            return made
    except Exception:  # noqa: BLE001 - a class of any library, which may refuse in any way
        return RedactedError(f"{kind.__name__}: {text}")
    return RedactedError(f"{kind.__name__}: {text}")


@dataclass(frozen=True, slots=True)
class Guarded(Generic[_Task, _Result]):
    """A function whose errors tell no credential, wherever they travel; a class so that it travels itself."""

    function: Callable[[_Task], _Result]

    def __call__(self, task: _Task) -> _Result:
        """Do it.

        Raises:
            Exception: what the function raised, or one like it.
        """
        try:
            return self.function(task)
        except Exception as error:  # noqa: BLE001 - it is raised again
            clean = scrubbed(error)
        # Outside of the handler: there Python would hang the first error on to the second.
        raise clean
