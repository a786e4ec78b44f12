"""Two runs side by side: their scores with differences, and the parameters that differ."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from s2igan.experiments import Experiment
from s2igan.report.measures import arrow, labels, less_is_better, shown
from s2igan.report.page import write_page

Line = tuple[str, str, str, str, str]  # label, both scores, their difference, "good", "bad" or ""


def write_comparison(path: str | Path, first: Experiment, second: Experiment) -> None:
    """One page of HTML: scores that people ask for, in groups, then all others that both runs or one of them have."""
    there = {**first.scores, **second.scores, "fid_encoder": first.value("eval.fid_encoder")}
    groups = labels(there)
    content = {
        group: [(key, *_line(key, f"{label} {arrow(key)}", first, second)) for key, label in measures.items()]
        for group, measures in groups.items()
    }
    told = {key for measures in groups.values() for key in measures} | {"fid_encoder"}
    if others := sorted(there.keys() - told):
        content["All other scores"] = [(key, *_line(key, "", first, second)) for key in others]
    write_page(
        path,
        "compare.html.jinja",
        names=(first.name, second.name),
        revisions=(first.rev, second.rev),
        groups=content,
        parameters=list(differences(first.params, second.params)),
    )


def _line(key: str, label: str, first: Experiment, second: Experiment) -> Line:
    one, other = (shown(run.scores[key]) if key in run.scores else "" for run in (first, second))
    if not one or not other:
        return label, one, other, "", ""
    change = second.scores[key] - first.scores[key]
    # A score that stands for itself is not good or bad: it may be a count, a chance or a control.
    mark = "" if not label or not change else "good" if (change < 0) == less_is_better(key) else "bad"
    return label, one, other, f"{'+' if change > 0 else '−' if change < 0 else '±'}{shown(abs(change))}", mark


def differences(first: Mapping, second: Mapping, where: str = "") -> Iterator[tuple[str, str, str]]:
    """`section.name` and both values of each parameter that is not the same in both; "" where one has none."""
    for name in dict.fromkeys([*first, *second]):
        one, other = first.get(name, ""), second.get(name, "")
        if isinstance(one, Mapping) or isinstance(other, Mapping):
            yield from differences(one or {}, other or {}, f"{where}{name}.")
        elif one != other:
            yield f"{where}{name}", str(one), str(other)
