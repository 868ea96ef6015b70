"""From templates to one page that carries all it needs and may load nothing."""

import base64
import functools
import hashlib
import json
from importlib.resources import files
from typing import Any

import jinja2
from markupsafe import Markup

from gl10m.report.page.numbers import count

PACKAGE = "gl10m.report.page"


@functools.cache
def templates(package: str) -> jinja2.Environment:
    """The folder `templates` of a package; values are escaped but for markup, and none may be missing."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(package),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["count"] = count
    return environment


def render(template: str, **values: object) -> str:
    """A template of gl10m/report/page/templates with its values."""
    return templates(PACKAGE).get_template(template).render(**values)


def asset(name: str, package: str = PACKAGE) -> str:
    """A style sheet or script among the templates of a package."""
    return files(package).joinpath("templates", name).read_text(encoding="utf-8")


def inline(text: str) -> Markup:
    """A style sheet or script of ours as the content of its element."""
    return Markup(text)  # noqa: S704 - a file of this package


def allowed(text: str) -> str:
    """What a Content-Security-Policy says to allow this style sheet or script, and no other."""
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"


def embedded(value: Any) -> Markup:  # noqa: ANN401 - anything that JSON can hold
    r"""A value as the content of a `<script type="application/json">`, which no text in it can end.

    `<`, `>` and `&` are written as \u003c, \u003e and \u0026, the two line separators likewise.
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return Markup(text)  # noqa: S704 - escaped above
