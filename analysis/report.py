"""The report of a study: a folder with its table, its figures and where they come from."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import jinja2
import matplotlib
import pandas as pd
from matplotlib.figure import Figure

from analysis.estimates import describe_settings, describe_state, summarise_cells
from analysis.figures.aux_weight import aux_weight_data, draw_aux_weight
from analysis.load import AnalysisError, StudyData
from analysis.tables import table1_csv, table1_data, table1_latex, table1_markdown

TEMPLATE = """\
# Study {{ name }}

For a network that says which of two handwritten digits is not the larger: what do weight sharing, an auxiliary digit
loss and dropout each buy?

## Table I

{{ table }}
"report" is the report that this study repeats. The same table is in table1.csv and table1.tex.

## Accuracy against the auxiliary weight

![Test accuracy against the auxiliary weight, without weight sharing](figure2.svg)

![Test accuracy against the auxiliary weight, with weight sharing](figure3.svg)

Mean ± standard deviation over the seeds of a cell.

## Where the numbers come from

- Grid: {{ grid }}, {{ cells }} cells of {{ seeds }} seeds
- Trials: {{ trials }}
{% if train_time %}
- Training time, h:min:s, added up over the trials: {{ train_time }}
{% endif %}
{% for setting, value in protocol.items() %}
- {{ setting }}: {{ value }}
{% endfor %}
{% for fact, value in run.items() %}
- Last run, {{ fact }}: {{ value }}
{% endfor %}
{% if incomplete %}

## Cells not complete

They have no part in the table and the figures' means.

{% for cell in incomplete %}
- {{ cell }}
{% endfor %}
{% endif %}
{% if unreadable %}

## Files that cannot be read

What they hold is left out. Running the study again restores it.

{% for file in unreadable %}
- {{ file }}
{% endfor %}
{% endif %}
"""


def write_report(data: StudyData, out: Path) -> list[Path]:
    """Write the table, the figures and, last, ``report.md`` into a folder, made where missing; return their paths.

    The same rows give the same bytes. Raises AnalysisError where the folder cannot be written.
    """
    table = table1_data(data)
    texts = {
        "table1.md": table1_markdown(table),
        "table1.csv": table1_csv(table),
        "table1.tex": table1_latex(table),
    }
    figures = {"figure2": aux_weight_data(data, sharing=False), "figure3": aux_weight_data(data, sharing=True)}
    try:
        out.mkdir(parents=True, exist_ok=True)
        written = [_write_text(out / name, text) for name, text in texts.items()]
        for name, info in figures.items():
            figure = Figure(figsize=(6.4, 4.6), layout="constrained")
            draw_aux_weight(info, figure.add_subplot())
            written += _write_figure(figure, out / name)
        report = _report_text(data, texts["table1.md"])
        return [*written, _write_text(out / "report.md", report)]
    except OSError as error:
        raise AnalysisError(f"cannot write the report to {out}: {error}; give another folder with --out") from None


def _write_text(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8", newline="\n")
    return path


def _write_figure(figure: Figure, stem: Path) -> list[Path]:
    """Write a figure as SVG and PNG, without the ids, date and version that differ from one writing to the next."""
    with matplotlib.rc_context({"svg.hashsalt": "study"}):
        figure.savefig(stem.with_suffix(".svg"), metadata={"Date": None, "Creator": None})
        figure.savefig(stem.with_suffix(".png"), metadata={"Software": None}, dpi=150)
    return [stem.with_suffix(".svg"), stem.with_suffix(".png")]


def _report_text(data: StudyData, table: str) -> str:
    cells = summarise_cells(data)
    incomplete = []
    for cell in cells[cells["state"] != "complete"].to_dict("records"):
        error = f" ({cell['error']})" if cell["state"] == "failed" and isinstance(cell["error"], str) else ""
        incomplete.append(f"{describe_settings(cell, data.info['roles'])}: {describe_state(cell)}{error}")
    planned = data.trials[data.trials["cell_id"].isin(cells["cell_id"]) & data.trials["seed"].isin(data.info["seeds"])]
    environment = jinja2.Environment(trim_blocks=True, keep_trailing_newline=True, undefined=jinja2.StrictUndefined)
    return environment.from_string(TEMPLATE).render(
        name=data.name,
        table=table,
        grid=data.info["grid"],
        cells=len(cells),
        seeds=len(data.info["seeds"]),
        trials=_trial_counts(planned, len(cells) * len(data.info["seeds"])),
        train_time=_train_time(planned),
        protocol=data.info["protocol"],
        run={fact: _one_line(value) for fact, value in (data.info["runs"] or [{}])[-1].items()},
        incomplete=incomplete,
        unreadable=data.unreadable,
    )


def _trial_counts(trials: pd.DataFrame, planned: int) -> str:
    """Count the trials by status, the most frequent first, and those of the planned ones that have no row."""
    counts = trials["status"].value_counts().to_dict()
    counts["not run"] = planned - len(trials)
    return ", ".join(f"{count} {status}" for status, count in counts.items() if count) + f"; {planned} planned"


def _train_time(trials: pd.DataFrame) -> timedelta | None:
    """Add up the training time to whole seconds; None where no trial says it."""
    if "train_time_s" not in trials or trials["train_time_s"].isna().all():
        return None
    return timedelta(seconds=round(trials["train_time_s"].sum()))


def _one_line(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {version}" for name, version in value.items())
    return str(value)
