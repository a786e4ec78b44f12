"""`s2igan`: speech to images, search by speech, exports; data of your own; what a run made, and how runs compare."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

import click

from s2igan.command import SEED, report_user_errors


class Output(click.Path):
    """A file to write: through a link, the file that it leads to; refused if it is a folder or must not be written."""

    def __init__(self):
        super().__init__(dir_okay=False, writable=True, readable=False, path_type=Path)

    def convert(self, value, param, ctx):
        path = super().convert(value or ".", param, ctx)
        if os.path.exists(path) and not os.path.isfile(path):
            return path  # such as /dev/stdout, a link that leads to no path
        return Path(os.path.realpath(path)) if os.path.islink(path) else path


MODELS = click.option("--models", type=click.Path(path_type=Path), default=Path("models"), show_default=True)
JSON = click.option("--json", "as_json", is_flag=True, help="for programs")


def echo(report: dict, as_json: bool, as_lines: Callable[..., Iterable[str]]) -> None:
    """Prints a report for programs, or for people."""
    import json

    for line in [json.dumps(report, indent=2, ensure_ascii=False)] if as_json else as_lines(report):
        click.echo(line)


def require_one(text: str | None, wav: Path | None, voice: str | None) -> None:
    """Ends in click's own line unless there is either a sentence, which may have a voice, or a recording."""
    if bool(text and text.strip()) == bool(wav):
        raise click.UsageError("give either a sentence or --wav FILE")
    if wav and voice:
        raise click.UsageError("--voice is for a sentence; a recording has its own")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="s2igan")
def main():
    """Speech-to-image generation: a spoken description becomes an image, without text in between.

    \b
    s2igan speak "this bird has a red crown and a white belly" -o bird.png
    s2igan COMMAND --help
    """


@main.command()
@click.argument("text", required=False)
@click.option("--wav", type=click.Path(path_type=Path), help="a recording, in place of TEXT, in any audio format")
@click.option("-o", "--output", type=Output(), required=True, help="the image to write (.png)")
@click.option("--voice", help="who says TEXT (default: the first test voice)")
@click.option("--seed", type=SEED, default=0, show_default=True, help="another number, another image")
@click.option("--count", type=click.IntRange(1, 64), default=1, show_default=True, help="images side by side")
@click.option("--save-wav", type=Output(), help="also write the sound that was heard")
@click.option("--size", type=click.IntRange(16, 2048), default=256, show_default=True, help="pixels of an image")
@MODELS
@report_user_errors
def speak(text, wav, output, voice, seed, count, save_wav, size, models):
    """Draws what TEXT, or the recording given by --wav, describes.

    \b
    s2igan speak "this bird has a red crown and a white belly" -o bird.png
    s2igan speak --wav mine.wav -o bird.png
    """
    require_one(text, wav, voice)
    from s2igan.figures import sheet
    from s2igan.machine import device
    from s2igan.pipeline import Pipeline
    from s2igan.speech.audio import write_wav

    pipeline = Pipeline(models, device())
    if save_wav:
        pipeline.require_hearing(save_wav)
    heard = pipeline.hear(text, wav, voice)
    source = f"read: {text}"
    if heard.samples is not None:
        told = wav or f"{voice or pipeline.voice} says: {text}"
        source = f"{told} ({len(heard.samples) / pipeline.sample_rate:.1f} s)"
    keys = [f"{i}" for i in range(count)]
    images = pipeline.draw(heard.speech[None].repeat(count, axis=0), pipeline.seeds(keys, seed))[-1]
    sheet(list(images), min(count, 8), output, size)
    if save_wav:  # last: nothing is left of a command that draws nothing
        write_wav(save_wav, heard.samples, pipeline.sample_rate)
    click.echo(f"{source} -> {output}")


@main.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-o", "--output", type=Output(), required=True, help="the vectors to write (.npz)")
@MODELS
@report_user_errors
def embed(files, output, models):
    """Writes the speech embeddings of recordings, FILES.

    `files` (N,) and `vectors` (N, A) of length 1; the dot product of two is their similarity, 1 where they are alike.

    \b
    s2igan embed sounds/*.wav -o vectors.npz
    python -c 'import numpy; v = numpy.load("vectors.npz")["vectors"]; print(v @ v.T)'
    """
    import io

    import numpy as np

    from s2igan.files import write_bytes
    from s2igan.machine import device
    from s2igan.pipeline import Pipeline

    pipeline = Pipeline(models, device())
    names = [str(path) for path in files]
    vectors = pipeline.embed([pipeline.listen(path) for path in files], names)
    content = io.BytesIO()
    np.savez(content, files=np.array(names), vectors=vectors)
    write_bytes(output, content.getvalue())
    click.echo(f"{len(names)} vectors of {vectors.shape[1]} components -> {output}")


@main.command()
@click.argument("text", required=False)
@click.option("--wav", type=click.Path(path_type=Path), help="a recording, in place of TEXT, in any audio format")
@click.option("--voice", help="who says TEXT (default: the first test voice)")
@click.option("--count", type=click.IntRange(1), default=5, show_default=True, help="of images, and of captions")
@click.option("--png", type=Output(), help="write the images found here, with their words and similarities")
@JSON
@report_user_errors
def find(text, wav, voice, count, png, as_json):
    """Finds images and captions by speech: TEXT said aloud, or --wav.

    Of the run in this folder, those nearest in the space that speech and images share; 1 is the same point.

    \b
    s2igan find "this bird has a red crown and a white belly"
    s2igan find --wav mine.wav --count 8 --png found.png
    """
    require_one(text, wav, voice)
    from s2igan.find import as_lines, draw_sheet, search
    from s2igan.machine import device
    from s2igan.pipeline import Pipeline

    pipeline = Pipeline("models", device())
    report = {"query": text or str(wav)} | search(pipeline, pipeline.hear(text, wav, voice).embedding, count)
    if png:
        draw_sheet(report, png)
    echo(report, as_json, as_lines)


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
@MODELS
@report_user_errors
def export(folder, models):
    """Writes the models into the new FOLDER, for use elsewhere.

    ONNX, safetensors, and README.md, a model card for the Hugging Face Hub that says how to run them. Needs the extra
    `export`.

    \b
    pip install -e ".[export]"
    s2igan export exported
    """
    from s2igan.export import export as write

    for name in write(models, folder):
        click.echo(folder / name)


@main.command()
@MODELS
@JSON
@report_user_errors
def info(models, as_json):
    """Says what is installed, and which models are here.

    Also which device computes, and what the models were trained on.

    \b
    s2igan info --models exported
    s2igan info --json
    """
    from s2igan.info import as_lines
    from s2igan.info import info as look

    echo(look(models), as_json, as_lines)


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="0.0.0.0: for other machines too")
@click.option("--port", type=click.IntRange(1, 65535), default=7860, show_default=True)
@report_user_errors
def demo(host, port):
    """Serves a page where one speaks and sees, with the models and data of this folder.

    \b
    python -m pip install -e ".[demo]"
    s2igan demo --port 7860
    """
    from s2igan.demo.page import serve

    page = serve(host, port)
    click.echo(f"http://{host}:{port} (Ctrl+C ends it)")
    page.block_thread()


@main.command()
@click.argument("key")
@click.option("--wav", type=Output(), help="write the item's sound here")
@click.option("--png", type=Output(), help="write the item's images, real and generated, here")
@report_user_errors
def trace(key, wav, png):
    """Shows what every stage made of one caption KEY, `<class>/<image>/<nn>` (or the start of one).

    \b
    s2igan trace 003.Brown-crowned-Orange-winged-Sunbird/00/00 --wav out.wav --png out.png
    """
    from s2igan.trace import trace as follow

    for line in follow(key, wav, png):
        click.echo(line)


@main.command()
@click.argument("dataset")
@click.option("--folder", type=click.Path(path_type=Path), help="where to (default: data/raw/DATASET)")
@report_user_errors
def fetch(dataset, folder):
    """Downloads what is public of DATASET (cub, oxford102, stamps, ktuberling, emoji), checks and unpacks it.

    \b
    s2igan fetch stamps
    """
    from s2igan.datasets.fetch import fetch_data_set

    folder = folder or Path("data/raw") / dataset
    rest = fetch_data_set(dataset, folder)
    click.echo(f"{dataset} is in {folder}" + (f"; still to do: {rest}" if rest else ""))


@main.command()
@click.argument("path", type=click.Path(path_type=Path))
@JSON
@report_user_errors
def check(path, as_json):
    """Looks at a list of your own data, PATH (or manifest.csv in the folder PATH): its faults, and what it has.

    Exits with 1 where something would stop a run.

    \b
    s2igan check /data/own
    s2igan check /data/own/words.csv --json
    """
    from s2igan.check import as_lines, check_list
    from s2igan.machine import workers

    report = check_list(path, workers())
    echo(report, as_json, as_lines)
    raise SystemExit(bool(report["faults"]))


@main.command()
@click.argument("experiments", nargs=-1)
@click.option("--by", "key", default="system", show_default=True, help="the parameter that tells groups apart")
@click.option("--baseline", help="the group that the others are tested against (default: the first)")
@click.option("--score", "scores", multiple=True, help="as metrics/*.json name it; several times for several")
@JSON
@report_user_errors
def compare(experiments, key, baseline, scores, as_json):
    """Means, deviations and paired tests over the seeds of EXPERIMENTS (default: all upon this commit).

    A star marks a difference from the baseline beyond chance (p < 0.05, corrected for the number of groups). The second
    table has the differences: their mean, 95 % bounds, size in standard deviations, and corrected p.

    \b
    dvc exp run --queue -S 'seed=0,1,2' -S 'rdg.lr=1e-3,2e-3' && dvc queue start
    s2igan compare --by rdg.lr --score map --score part_colour_accuracy
    s2igan compare --by rdg.lr --json
    """
    from s2igan.errors import InputError
    from s2igan.experiments import finished
    from s2igan.table1 import SCORES, as_runs, comparison, comparison_lines, shown_difference

    runs = as_runs(finished(experiments), key)
    if not runs:
        raise InputError("no finished experiment upon this commit; run some: dvc exp run --queue -S 'seed=0,1,2'")
    there = sorted({name for run in runs for name in run.scores})
    if unknown := [name for name in scores if name not in there]:
        raise InputError(
            f"--score: no experiment has {unknown[0]}, or it is of a stage that it did not run or began with "
            f"other parameters; they have {', '.join(there)}"
        )
    chosen = {name: SCORES.get(name) for name in scores} or SCORES
    baseline = baseline or runs[0].group
    report = {"by": key, "baseline": baseline, "rows": comparison(runs, chosen, baseline)}
    table = comparison_lines(runs, chosen, {}, baseline)
    apart = comparison_lines(runs, chosen, {}, baseline, shown_difference)
    echo(report, as_json, lambda _: [*table, "", f"difference from {baseline}:", "", *apart])


@main.command()
@click.option("--compare", "revisions", nargs=2, required=True, metavar="A B", help="commits, branches or experiments")
@click.option("-o", "--output", type=Output(), default=Path("comparison.html"), show_default=True)
@report_user_errors
def report(revisions, output):
    """Two runs side by side as one page: their scores with differences, and the parameters that differ.

    The page of one run, metrics/report.html, is made by `dvc repro report`.

    \b
    s2igan report --compare main exp-name -o comparison.html
    """
    from s2igan.experiments import at_revision
    from s2igan.report.compare import write_comparison

    write_comparison(output, *(at_revision(name) for name in revisions))
    click.echo(output)


@main.command()
@click.option("--scale", default="table", show_default=True, help="of conf/scale/")
@click.option("--seed", "seeds", type=SEED, multiple=True, default=(3, 4, 5), show_default=True)
@click.option("--system", "systems", multiple=True, help="of conf/system/; several times for several (default: all)")
@click.option("--samples", type=click.IntRange(1), default=8, show_default=True, help="columns of the figure")
@click.option("--jobs", type=click.IntRange(1), default=1, show_default=True, help="runs at a time; they share cores")
@report_user_errors
def table1(scale, seeds, systems, samples, jobs):
    """Runs every system with every seed on DVC's queue; writes metrics/table1.csv and docs/results.md.

    Stop it as you like and give the same command again: what is done is not done again, nor what metrics/table1.csv
    has of the same code. Take that file away to run all.

    \b
    s2igan table1 --jobs 2
    s2igan table1 --scale smoke --seed 0 --system s2igan --system no_relation
    """
    from s2igan import experiments as queue
    from s2igan import table1 as page
    from s2igan.command import progress
    from s2igan.errors import InputError

    table = Path("metrics/table1.csv")
    systems = systems or tuple(page.SYSTEMS)
    if unknown := [system for system in systems if system not in page.SYSTEMS]:
        raise InputError(f"--system: {unknown[0]} is unknown; choose of {', '.join(page.SYSTEMS)}")
    if not Path(f"conf/scale/{scale}.yaml").is_file():
        raise InputError(f"--scale: no conf/scale/{scale}.yaml here; name one that is there, in the project's clone")
    if page.BASELINE not in systems:
        raise InputError(f"--system: {page.BASELINE} is what the others are compared with; add it")
    if changed := queue.uncommitted("conf", "s2igan", "stages", "dvc.yaml"):
        raise InputError(
            f"{changed[0]}: not as the commit has it; commit it, since what is done is known by name and commit"
        )
    read = ("dvc.yaml", *queue.choices_behind("scale", "system"), *queue.code_behind(page.TARGET))
    runs = {commit: made for commit, made in page.read_scores(table, scale).items() if queue.same_since(commit, *read)}
    there = {page.name_of(scale, run.group, run.seed) for made in runs.values() for run in made}
    wanted = page.wanted(systems, seeds, scale)
    wanted = {name: overrides for name, overrides in wanted.items() if name not in there}
    with progress(None, "table1", len(wanted)) as bar:
        for done, running in queue.run_all(wanted, page.TARGET, jobs):
            bar.set_postfix_str(" ".join(running), refresh=False)
            bar.update(done - bar.n)
    experiments = queue.finished(list(wanted), page.FILES) if wanted else []
    runs.setdefault(queue.present_commit(), []).extend(page.as_runs(experiments))
    page.write_scores(table, scale, runs)
    written = [str(table), "docs/results.md"]
    for seed in seeds:
        of_seed = [experiment for experiment in experiments if experiment.value("seed") == seed]
        if len(of_seed) == len(systems):
            page.draw_samples("metrics/figures/table1.png", of_seed, samples)
            written.append("metrics/figures/table1.png")
            break
    chosen = () if systems == tuple(page.SYSTEMS) else systems
    words = (f"--scale {scale}", *(f"--seed {seed}" for seed in seeds), *(f"--system {system}" for system in chosen))
    shown = [
        (commit, run)
        for commit, made in page.read_scores(table, scale).items()
        for run in made
        if run.group in systems and run.seed in seeds
    ]
    commits = ", ".join(dict.fromkeys(commit for commit, _ in shown))
    origin = f"`{' '.join(['s2igan table1', *words])}` on commit {commits}"
    page.write_page("docs/results.md", [run for _, run in shown], scale, origin)
    click.echo(", ".join(written))


if __name__ == "__main__":
    main()
