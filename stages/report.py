"""report: the run as one page to send and to print, metrics/report.html."""

import click

from s2igan.command import SEED, Stage
from s2igan.machine import device
from s2igan.report.content import Run
from s2igan.report.page import write_page

PAGE = "metrics/report.html"


@click.command(cls=Stage)
@click.option("--samples", type=click.IntRange(1), required=True, help="captions to hear and see; keyword pairs")
@click.option("--captions", type=click.IntRange(1), required=True, help="of the best ones, and of the worst")
@click.option("--seed", type=SEED, required=True)
def main(samples, captions, seed):
    """Reads scores, curves, figures, data and models; writes metrics/report.html."""
    write_page(PAGE, "report.html.jinja", **Run(device()).content(samples, captions, seed))
    click.echo(PAGE)


if __name__ == "__main__":
    main()
