"""The page, script and style of the viewer."""

import functools
from importlib.resources import files

import jinja2


@functools.cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("gl10m.view"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def rendered(template: str, **values: object) -> str:
    """A template of gl10m/view/templates with its values, every value escaped."""
    return _environment().get_template(template).render(**values)


def viewer_asset(name: str) -> str:
    """A style sheet or script of gl10m/view/templates."""
    return files("gl10m.view").joinpath("templates", name).read_text(encoding="utf-8")
