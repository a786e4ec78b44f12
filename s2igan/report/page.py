"""HTML of one file: everything that it shows is within it, and nothing is asked of another host."""

from pathlib import Path

import jinja2

from s2igan.files import write_text


def write_page(path: str | Path, template: str, **content) -> None:
    """Fills `template` of this folder; all of `content` is taken as text, but for the drawings."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    write_text(path, environment.get_template(template).render(content))
