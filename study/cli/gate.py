"""The command ``study gate``."""

from dataclasses import asdict
from typing import Annotated

import typer

from study.cli.help import epilog
from study.cli.parameters import AsJson, Storage, StudyName
from study.console import answer, print_json
from study.plan.run_options import LaunchError, RunOptions

app = typer.Typer()


@app.command(epilog=epilog("gate"))
def gate(
    name: StudyName,
    contrast: Annotated[str, typer.Option(help="Name of the contrast, such as 'mine over baseline'.")],
    at_least: Annotated[float, typer.Option(help="The smallest improvement that counts, in the objective's unit.")],
    storage: Storage = RunOptions.storage,
    as_json: AsJson = False,
) -> None:
    """Say by the exit code whether a contrast is an improvement: for CI, and programs that keep or discard a change."""
    from analysis.comparison.gate import VERDICTS, judge
    from analysis.load import load_study, no_cell
    from analysis.statistics.standings import describe_standing

    if not at_least >= 0:
        raise LaunchError(f"--at-least {at_least:g}: expected 0 or more, in the unit of the objective")
    data = load_study(storage, name, no_cell)
    found = judge(data, contrast, at_least)
    goal = data.info.goal
    if as_json:
        verdict = {"study": name, "contrast": contrast, "code": found.code, "verdict": VERDICTS[found.code]}
        print_json(verdict | {"decision": asdict(found.standing.decision), "seeds_more": found.seeds_more})
    else:
        more = "" if found.seeds_more is None else f"; {found.seeds_more} more seeds may decide it"
        wanted = f"at least {f'{at_least:g} {goal.difference_unit}'.strip()}"
        text = f"{VERDICTS[found.code]} ({wanted}){more if found.code == 3 else ''}"
        answer(f"{text}: {describe_standing(found.standing, goal)}")
    raise typer.Exit(found.code)
