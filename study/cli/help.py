"""What ``--help`` says beside the options: examples of each command, and exit codes."""

EXIT_CODES = {
    0: "all well",
    1: "some cells failed; their rows say why",
    2: "bad input, or a storage, cluster or output that cannot be used",
    3: "undecided: the contrast of study gate needs more seeds",
    130: "interrupted; run the same command again to continue",
}

# The exit codes of commands that may end with others than 0 and 2.
EXIT_CODES_OF = {
    "gate": "0 (better), 1 (not better by so much, or worse), 2, or 3 (undecided)",
    "run": "0, 1, 2 or 130",
    "confirm": "0, 1, 2 or 130",
    "merge": "0, 1 (a file could not be read) or 2",
    "remove": "0, 1 (you said no) or 2",
}

EXAMPLES = {
    "run": """
        # a small shipped grid, on this machine
        study run --grid smoke
        # your own grid, kept under another name
        study run --grid mine.yaml --name second-try
        # ten more seeds; what is finished is not trained again
        study run --grid table1 --seeds 20
        # as many seeds as it takes to decide the grid's contrasts
        study run --grid mine.yaml --until-decided
        # on a cluster, with a storage that all its nodes see
        study run --grid full --address auto --storage s3://bucket/studies
        # for a script: progress on standard error, the outcome as JSON
        study run --grid smoke --json""",
    "confirm": "study confirm full",
    "plan": """
        # which cells a run would train, and how long it would take here
        study plan --grid mine.yaml
        # how many seeds find a difference of one point, and how long they take
        study plan --grid table1 --detect 1.0
        # on four machines of 48 cores and 4 GPUs, at 2.50 an hour each
        study plan --grid full --nodes 4 --cpus 48 --gpus 4 --price 2.50""",
    "grids": """
        # the grids that come with the package
        study grids
        # begin your own grid with a shipped one
        study grids show table1 > mine.yaml""",
    "grids show": """
        # the file, with its comments
        study grids show table1
        # its cells
        study grids show mine.yaml --cells""",
    "grids schema": """
        # a copy beside your grids, for an editor that completes and checks them
        study grids schema > grid.schema.json
        # the path of the file that comes with the package
        study grids schema --path
        # for the grids of your own model
        study grids schema --model my_module:MyModel > grid.schema.json""",
    "list": """
        study list
        # the studies in a bucket
        study list --storage s3://bucket/studies""",
    "status": """
        study status full
        # keep showing it until no run is in progress
        study status full --watch
        # for a script
        study status full --json""",
    "analyze": """
        # the study that ran last; the report is written to reports/NAME
        study analyze
        # only the tables, as CSV and LaTeX, in a folder of your choice
        study analyze full --format csv --format tex --out tables
        # all estimates as JSON; nothing is written
        study analyze full --json""",
    "gate": """
        # is it better, and can it be by half a point?
        study gate own --contrast 'new over old' --at-least 0.5""",
    "merge": "study merge full ../other/studies/full --into all",
    "import": """
        # a table with the columns lr, seed and test_acc
        study import runs.csv --into mine --factors lr --seed seed --metric test_acc
        # what Optuna's trials_dataframe wrote: columns get other names
        study import t.csv --into mine --factors lr=params_lr --metric val_acc=value""",
    "diff": "study diff full ../other/studies/full",
    "export": """
        # one row per trial, with all settings as columns
        study export full --out full.csv
        # one row per trial and epoch
        study export full --out curves.parquet --epochs""",
    "archive": "study archive full --out full.tar.gz",
    "restore": """
        study restore full.tar.gz
        # into another storage
        study restore full.tar.gz --storage s3://bucket/studies""",
    "remove": "study remove full",
}


def epilog(command: str) -> str:
    """Return what comes after the options of a command, or of the program (``study``)."""
    if command == "study":
        codes = "\n".join(f"  {code:>3}  {what}" for code, what in EXIT_CODES.items())
        return (
            "An option that is not given is looked for in the environment (for --data-dir in "
            "STUDY_DATA_DIR), and then in the file study.toml of the working directory. "
            f"See docs/cli.md.\n\n[bold]Exit codes[/bold]\n{codes}"
        )
    lines = "\n".join(f"  {line.strip()}" for line in EXAMPLES[command].strip().splitlines())
    codes = EXIT_CODES_OF.get(command, "0 or 2")
    return f"[bold]Examples[/bold]\n{lines}\n\nExit code: {codes}; study --help explains them."
