"""Print what the device benchmarks measured as Markdown, for docs/performance.md.

    python tests/gpu/tables.py FOLDER

with loss.json, step.json and decode.json, as far as had. Further files ``NAME-*.json`` hold rows of
the same kind from another run: a row that both have is taken from the later one.
"""

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

Row = dict[str, Any]
DESCRIBE = (
    *("tokens", "vocabulary", "from", "source", "loss", "side", "kernel", "entries", "warps"),
    *("student", "kernels", "groups", "lengths", "up_to", "at_once", "way", "cuda_graphs"),
)
"""Fields that say what a row measures."""
PACKAGES = ("torch", "cuda", "triton", "transformers", "liger-kernel")


def machine(head: Row) -> str:
    """Return the card, the driver and the versions as a line."""
    versions = [
        f"{name} {head['versions'][name]}" for name in PACKAGES if head["versions"].get(name)
    ]
    return ", ".join([head["card"], f"driver {head['driver'] or 'unknown'}", *versions])


def pivot(
    rows: list[Row],
    what: Callable[[Row], str],
    side: Callable[[Row], str],
    cell: Callable[[Row], str],
    absent: Callable[[str, str], str] = lambda *_: "not measured",
) -> Iterator[str]:
    """Yield a table: a line per description, a column per side, in order of appearance.

    Sides without any value have no column; `absent` says what stands for a row that is not there.
    """
    columns = list(dict.fromkeys(side(row) for row in rows if measured(row)))
    lines: dict[str, dict[str, str]] = {}
    for row in rows:
        lines.setdefault(what(row), {})[side(row)] = cell(row) if measured(row) else why(row)
    yield "| | " + " | ".join(columns) + " |"
    yield "|---" * (len(columns) + 1) + "|"
    for name, cells in lines.items():
        found = (cells.get(column) or absent(name, column) for column in columns)
        yield f"| {name} | " + " | ".join(found) + " |"


def measured(row: Row) -> bool:
    return "milliseconds" in row or "tokens_per_second" in row


def why(row: Row) -> str:
    """Return in a word why a row has no value."""
    error = str(row.get("error", ""))
    if "OutOfMemory" in error or "out of memory" in error:
        return "out of memory"
    return "not measured" if "time was over" in error else "failed"


SHARES = {
    "logits": ("share_of_bandwidth", "rate of a copy"),
    "hidden states": ("share_of_flops", "rate of a matrix product"),
}
"""By source: the share that bounds a loss, and what it is a share of."""


def loss_cell(row: Row) -> str:
    memory = f", {row['peak_in_logits']:.2f}" if "peak_in_logits" in row else ""
    share = row.get(SHARES[row["from"]][0]) if "triton" in row["side"] else None
    return f"{row['milliseconds']:.2f} ms{memory}" + (f", {share:.0%}" if share else "")


def losses(rows: list[Row]) -> Iterator[str]:
    """Yield the losses, from logits and from hidden states: times, memory, and Triton's shares."""
    for source, (_, bound) in SHARES.items():
        found = [row for row in rows if row.get("from") == source]
        if found:
            yield (
                f"\nFrom {source}: time of forward and backward, memory beyond the inputs in "
                f"16-bit tensors of logits, and share of the measured {bound}:\n"
            )
            yield from pivot(
                found,
                lambda row: f"{row['loss']}, {row['tokens']:,} × {row['vocabulary']:,}",
                lambda row: str(row["side"]),
                loss_cell,
                lambda loss, side: (
                    "—" if "adakd" in loss and side.startswith("liger") else "not measured"
                ),
            )


PHASES = ("student", "loss", "backward", "optimizer")


def step_cell(row: Row) -> str:
    rate = f", {row['tokens_per_second']:,.0f} tokens/s" if "tokens_per_second" in row else ""
    phases = [f"{row[f'{phase}_ms']:.0f}" for phase in PHASES if f"{phase}_ms" in row]
    return f"{row['milliseconds']:.0f} ms{rate}" + (f" ({' + '.join(phases)})" if phases else "")


def steps(rows: list[Row]) -> Iterator[str]:
    """Yield the training steps: time, tokens a second and phases; ratios of steps in turn."""

    def kernels(row: Row) -> str:
        return f"{row['kernels']}, groups {row['groups']}" if "kernels" in row else "—"

    yield f"Time of a step, and in parentheses of its phases ({', '.join(PHASES)}) in ms:\n"
    found = [row for row in rows if "loss" in row]
    yield from pivot(found, lambda row: f"{row['student']}, {row['loss']}", kernels, step_cell)
    yield "\n| AdaKD's step over the plain one, in turn | median | quartiles | pairs |"
    yield "|---|---|---|---|"
    for row in rows:
        if "adakd_over_plain" in row:
            spread = f"{row['ratio_low']:.3f}–{row['ratio_high']:.3f}"
            ratio = f"{row['adakd_over_plain']:.3f}"
            yield f"| {row['student']}, {kernels(row)} | {ratio} | {spread} | {row['pairs']} |"


def decoding(rows: list[Row]) -> Iterator[str]:
    """Yield tokens a second of decoding."""
    yield from pivot(
        rows,
        lambda row: (
            f"lengths {row['lengths']}"
            + (f" up to {row['up_to']}" if "up_to" in row else "")
            + f", {row['at_once']} at once"
        ),
        lambda row: row["way"].replace("|", ", ") + (", CUDA graphs" if row["cuda_graphs"] else ""),
        lambda row: f"{row['tokens_per_second']:,.0f} tokens/s",
    )


def merged(files: Iterable[Path]) -> tuple[list[Row], list[Row]]:
    """Return the heads of files of one kind, earliest first, and the rows of all of them."""
    runs = sorted((json.loads(file.read_text()) for file in files), key=lambda run: run["datetime"])
    found: dict[str, Row] = {}
    for run in reversed(runs):
        for row in run["rows"]:
            key = json.dumps([row.get(name) for name in DESCRIBE])
            if not measured(found.get(key, {})) and ("error" not in row or key not in found):
                found[key] = row
    return [{**run, "rows": []} for run in runs], list(found.values())


def tables(folder: Path) -> Iterator[str]:
    """Yield the lines of all tables whose results are in a folder."""
    for name, make in (("loss", losses), ("step", steps), ("decode", decoding)):
        heads, rows = merged([*folder.glob(f"{name}.json"), *folder.glob(f"{name}-*.json")])
        if heads:
            machines = "\n".join(dict.fromkeys(map(machine, heads)))
            yield f"\n### {name}\n\n{machines}\n"
            yield from make(rows)


if __name__ == "__main__":
    print("\n".join(tables(Path(sys.argv[1]))))
