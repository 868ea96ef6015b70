"""What README, docs and the help of commands show can be typed, and what they point to is there."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from gl10m.cli import cli

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("class_maps/*.md"),
        *ROOT.glob("manifests/*.md"),
    ]
)
COMMAND = re.compile(r"(?:^\s*(?:\$ )?|[`(&|] ?)gl10m ([a-z][^`#|;&\n]*)", re.MULTILINE)
POINTED = re.compile(r"\]\(([^)#\s]+)[^)\s]*\)")
ROOMS = "gl10m|pipelines|reference_model|class_maps|manifests|tests|benchmarks|scripts|examples|docs"
FILE = re.compile(rf"`((?:{ROOMS})/[a-z0-9_./-]*\.(?:py|md|yaml|toml|csv|c|cpp))`")


def blocks(text: str) -> str:
    """What stands in fenced blocks and between backticks."""
    fenced = re.findall(r"^```(?:sh|bash|console)?\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    plain = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    return "\n".join([*fenced, *(f"`{one}`" for one in re.findall(r"`([^`]+)`", plain))])


def shown(text: str) -> Iterator[str]:
    """Commands of ours in a text; lines that go on are joined."""
    yield from (found.group(1).strip() for found in COMMAND.finditer(re.sub(r"\\\s*\n", " ", text)))


def unknown(shown: str) -> str | None:
    """What of a command line `gl10m` would not know."""
    words = shlex.split(shown.replace("'", " "), comments=True)
    context = click.Context(cli)
    command: click.Command | None = cli
    while words and isinstance(command, click.Group):
        name, *words = words
        named = [command.get_command(context, one) for one in name.split("|")]
        if None in named:
            return f"the command {name}"
        command = named[0]
    assert command is not None
    names = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    names |= {"--help", "-h"}
    options = [word.partition("=")[0].strip("[],.)") for word in words if re.match(r"\[?-{1,2}[a-z]", word)]
    missing = [option for option in options if option not in names]
    return f"{', '.join(missing)} of gl10m {shown}" if missing else None


def commands(group: click.Group, name: str = "") -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for one in group.list_commands(context):
        command = group.get_command(context, one)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, f"{name}{one} ")
        else:
            yield f"{name}{one}", command


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_pages_show_commands_that_exist(page: Path) -> None:
    wrong = [found for line in shown(blocks(page.read_text())) if (found := unknown(line)) is not None]
    assert wrong == []


def test_examples_in_the_help_exist() -> None:
    seen = [(name, line) for name, command in commands(cli) for line in shown(command.help or "")]
    assert len({name for name, _ in seen}) > 20
    assert [found for _, line in seen if (found := unknown(line)) is not None] == []


def test_a_command_that_is_gone_is_seen() -> None:
    assert unknown("build --stats CA") == "--stats of gl10m build --stats CA"
    assert unknown("biuld --states CA") == "the command biuld"
    assert unknown("build --states CA --root demo") is None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_pages_point_to_files_that_exist(page: Path) -> None:
    text = page.read_text()
    links = [one for one in POINTED.findall(text) if "://" not in one and not one.startswith("mailto:")]
    missing = [one for one in links if not (page.parent / one).exists()]
    missing += [one for one in FILE.findall(text) if not (ROOT / one).exists()]
    assert missing == []
