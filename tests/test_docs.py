"""What README and docs say against what is there: links, commands, parameters, scores.

`python tests/test_docs.py` prints the table of scales for docs/recipe.md.
"""

import ast
import importlib.util
import json
import re
import shlex
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from dag import ROOT, composed

from s2igan.cli import main
from s2igan.report import measures

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
SCORES = {"README.md": 30, "docs/reading-the-results.md": 25}  # at least so many numbers are compared
COLUMNS = {"S2IGAN": "score", "before the change": "chance", "mAP": "map", "R@10": "r10"}  # and those of the report


def fill(page: str, metrics: dict) -> tuple[str, int]:
    """The page with the scores of `metrics` in every table row that has a key of theirs, and how many there are."""
    lines, heading, count = page.split("\n"), [], 0
    for i, line in enumerate(lines):
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []
        if not cells:
            heading = []
        elif not heading:
            heading = cells
        elif keys := [cell.strip("`") for cell in cells[:2] if re.fullmatch(r"`[\w.]+`", cell)]:
            for j in range(cells.index(f"`{keys[0]}`") + 1, len(cells)):
                found = measures.value(metrics, keys[0], COLUMNS.get(heading[j], heading[j]))
                if found is not None:
                    cells[j], count = measures.shown(found), count + 1
            lines[i] = f"| {' | '.join(cells)} |".replace("|  |", "| |").replace("|  |", "| |")
    return "\n".join(lines), count


def read_metrics(folder: Path) -> dict:
    """All scores; of a name that several files have, the first one's, but the images are those that speech finds."""
    files = {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"), reverse=True)}
    return {name: value for file in files.values() for name, value in file.items()} | {"images": files["sen"]["images"]}


def slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def commands() -> list[str]:
    """Every line of every block of shell commands, without its comment."""
    blocks = [b for page in PAGES for b in re.findall(r"```sh\n(.*?)```", page.read_text(), re.DOTALL)]
    return sorted({line.split(" #")[0].strip() for block in blocks for line in block.splitlines() if line.strip()})


def flat(config: dict, before: str = "") -> dict:
    """`section.name` of each parameter, with its value."""
    found = {}
    for name, value in config.items():
        found |= flat(value, f"{before}{name}.") if isinstance(value, dict) else {before + name: value}
    return found


def scales_table() -> str:
    """The rows of docs/recipe.md: paper's values, and what the others have otherwise."""
    names = ("paper", "demo", "large", "gpu", "table")
    scales = {name: flat(composed(f"scale={name}", resolve=False)) for name in names}
    rows = ["| parameter | `paper` | `demo` | `large` | `gpu` | `table` |", "|---|---|---|---|---|---|"]
    for key, value in scales["paper"].items():
        demo = scales["demo"][key]
        cells = ["" if demo == value else demo]
        cells += ["" if scales[name][key] == demo else scales[name][key] for name in names[2:]]
        if any(cell != "" for cell in cells):
            words = [cell if isinstance(cell, str) else json.dumps(cell) for cell in (value, *cells)]
            rows.append(f"| `{key}` | {' | '.join(words)} |".replace("|  |", "| |").replace("|  |", "| |"))
    return "\n".join(rows)


def test_the_readme_can_be_read_at_once():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 250


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if target.startswith("http"):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{page.name}: {target}"
        if anchor:
            assert anchor in {slug(h) for h in re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)}, target


@pytest.mark.parametrize("name", SCORES)
def test_scores_are_those_of_the_committed_run(name):
    page = (ROOT / name).read_text()
    filled, count = fill(page, read_metrics(ROOT / "metrics"))
    assert filled.splitlines() == page.splitlines()
    assert count >= SCORES[name]


def test_the_recipe_has_the_scales_as_they_are():
    page = (ROOT / "docs/recipe.md").read_text()
    assert page.split("<!-- scales -->\n")[1].split("\n<!-- /scales -->")[0] == scales_table()


def test_parameters_that_the_pages_name_are_there():
    there = flat(composed())
    sections = {key.split(".")[0] for key in there if "." in key}
    for page in PAGES:
        if page.name != "CHANGELOG.md":  # which names what was
            for section, name in re.findall(r"`(\w+)\.(\w+)[`=:]", page.read_text()):
                assert section not in sections or name == "json" or f"{section}.{name}" in there, (
                    page.name,
                    section,
                    name,
                )


def test_experiments_of_the_pages_compose():
    found = [line for line in commands() if line.startswith("dvc exp run")]
    assert len(found) > 10
    for line in found:
        words = shlex.split(line)
        overrides = [words[i + 1] for i, word in enumerate(words) if word == "-S"]
        first = [re.sub(r"^([\w.]+=)([^\[,]*),.*$", r"\1\2", override) for override in overrides]  # of a choice
        composed(*first)


def test_commands_of_the_pages_are_there():
    targets = re.findall(r"^([\w]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    found = {"make": 0, "python": 0, "s2igan": 0}
    for line in commands():
        words = shlex.split(line)
        if words[0] == "make":
            assert words[1] in targets, line
        elif words[:2] == ["python", "-m"]:
            assert importlib.util.find_spec(words[2]), line
        elif words[0] == "s2igan":
            assert words[1] in main.commands, line
            usage = CliRunner().invoke(main, [words[1], "--help"]).output
            for option in (word for word in words[2:] if word.startswith("-")):
                assert option in usage, line
        if words[0] in found:
            found[words[0]] += 1
    assert all(found.values())


def errors() -> list[re.Pattern]:
    """The texts of the code as patterns of a line's end, with anything in place of what stands in braces."""
    found = [re.compile(re.escape(re.search('"error: (dvc.lock .*?)"', (ROOT / "Makefile").read_text())[1]))]
    for file in (*(ROOT / "s2igan").rglob("*.py"), *(ROOT / "stages").rglob("*.py")):
        nodes = list(ast.walk(ast.parse(file.read_text())))
        within = {id(part) for node in nodes if isinstance(node, ast.JoinedStr) for part in node.values}
        for node in nodes:
            if isinstance(node, ast.JoinedStr):
                parts = [part.value if isinstance(part, ast.Constant) else None for part in node.values]
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in within:
                parts = [node.value]
            else:
                continue
            if sum(len(part or "") for part in parts) > 20:
                words = [".*" if part is None else re.escape(part.replace("`", "")) for part in parts]
                found.append(re.compile("".join(words) + "$"))
    return found


def test_errors_of_the_pages_are_the_code_s():
    lines = [line for page in PAGES for line in re.findall(r"^error: (.*)$", page.read_text(), re.MULTILINE)]
    lines += re.findall(r"^\| `([^`]{20,})` \|", (ROOT / "docs/troubleshooting.md").read_text(), re.MULTILINE)
    patterns = errors()
    assert len(lines) > 30
    assert not [line for line in lines if not any(pattern.search(line) for pattern in patterns)]


def test_every_command_has_examples_in_its_help():
    assert re.search("^  s2igan speak ", CliRunner().invoke(main, ["--help"]).output, re.MULTILINE)
    for name in main.commands:
        usage = CliRunner().invoke(main, [name, "--help"]).output
        examples = [shlex.split(line) for line in usage.splitlines() if line.split()[:2] == ["s2igan", name]]
        assert examples, name
        for option in (word for words in examples for word in words if word.startswith("-")):
            assert re.search(rf"^  .*{option}\b", usage.split("Options:")[1], re.MULTILINE), (name, option)


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("s2igan fi", {"find"}),
        ("s2igan find --c", {"--count"}),
        ("s2igan speak --s", {"--seed", "--save-wav", "--size"}),
    ],
)
def test_the_shell_completes_commands_and_options(typed, found):
    """As docs/use.md has it: what bash asks for when the tab key is pressed, and that its script does ask."""
    words = {"COMP_WORDS": typed, "COMP_CWORD": str(len(typed.split()) - 1)}
    result = CliRunner().invoke(main, prog_name="s2igan", env={"_S2IGAN_COMPLETE": "bash_complete", **words})
    assert {line.split(",")[1] for line in result.output.split()} == found
    for shell in ("bash", "zsh", "fish"):
        script = CliRunner().invoke(main, prog_name="s2igan", env={"_S2IGAN_COMPLETE": f"{shell}_source"}).output
        assert f"_S2IGAN_COMPLETE={shell}_complete " in script


def test_every_stage_is_in_the_data_flow():
    page = (ROOT / "docs/architecture.md").read_text()
    flow = page.split("```")[1]
    for stage in yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]:
        assert re.search(rf"\b{stage}\b", flow), stage


if __name__ == "__main__":
    print(scales_table())
