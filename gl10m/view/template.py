"""The page, script and style of the viewer."""

from gl10m.report.page.markup import asset, templates

PACKAGE = "gl10m.view"


def rendered(template: str, **values: object) -> str:
    """A template of gl10m/view/templates with its values, every value escaped."""
    return templates(PACKAGE).get_template(template).render(**values)


def viewer_asset(name: str) -> str:
    """A style sheet or script of gl10m/view/templates."""
    return asset(name, PACKAGE)
