"""SVG elements as escaped markup."""

from markupsafe import Markup, escape

Attribute = str | float | None


def element(name: str, *children: object, **attributes: Attribute) -> Markup:
    """One element. Children that are no markup are escaped, so are all attributes.

    Args:
        name: as "rect"; ours, never from data.
        *children: markup or text.
        **attributes: `class_` is `class`, and `stroke_width` is `stroke-width`; None leaves one out.
    """
    parts = [f"<{name}"]
    for key, value in attributes.items():
        if value is not None:
            shown = f"{value:.6g}" if isinstance(value, float) else value
            parts.append(f' {key.rstrip("_").replace("_", "-")}="{escape(shown)}"')
    content = "".join(str(escape(child)) for child in children)
    parts.append(f">{content}</{name}>" if content else "/>")
    # Every part above is either a name of ours or was escaped.
    return Markup("".join(parts))  # noqa: S704


def drawing(width: float, height: float, label: str, *children: object, class_: str = "chart") -> Markup:
    """A drawing that scales with the page; screen readers hear its label, the numbers stand in a table."""
    return element(
        "svg",
        *children,
        viewBox=f"0 0 {width:g} {height:g}",
        role="img",
        aria_label=label,
        class_=class_,
    )


def text(x: float, y: float, words: object, class_: str = "", anchor: str = "start") -> Markup:
    """Words at a place."""
    return element("text", words, x=x, y=y, class_=class_ or None, text_anchor=anchor)
