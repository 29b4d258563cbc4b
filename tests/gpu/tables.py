"""Print what the device benchmarks measured as Markdown, for docs/performance.md.

python tests/gpu/tables.py FOLDER     # with loss.json, step.json and decode.json, as far as had
"""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Row = dict[str, Any]
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
) -> Iterator[str]:
    """Yield a table: a line per description, a column per side, in order of appearance."""
    columns = list(dict.fromkeys(map(side, rows)))
    lines: dict[str, dict[str, str]] = {}
    for row in rows:
        lines.setdefault(what(row), {})[side(row)] = cell(row)
    yield "| | " + " | ".join(columns) + " |"
    yield "|---" * (len(columns) + 1) + "|"
    for name, cells in lines.items():
        yield f"| {name} | " + " | ".join(cells.get(column, "") for column in columns) + " |"


def why(row: Row) -> str:
    """Return in a word why a row has no value."""
    error = str(row.get("error", ""))
    if "OutOfMemory" in error or "out of memory" in error:
        return "out of memory"
    return "not measured" if "time was over" in error else "failed"


def loss_cell(row: Row) -> str:
    if "milliseconds" not in row:
        return why(row)
    memory = f", {row['peak_in_logits']:.2f}" if "peak_in_logits" in row else ""
    return f"{row['milliseconds']:.2f} ms{memory}"


def losses(rows: list[Row]) -> Iterator[str]:
    """Yield the losses: time, and memory beyond the inputs in tensors of logits."""
    found = [row for row in rows if "from" in row]
    yield "Time, and memory beyond the inputs in 16-bit tensors of logits:\n"
    yield from pivot(
        found,
        lambda row: f"{row['loss']}, {row['tokens']:,} × {row['vocabulary']:,}, from {row['from']}",
        lambda row: str(row["side"]),
        loss_cell,
    )
    shares = [row for row in found if row["side"] == "triton" and "milliseconds" in row]
    for row in shares:
        kind = "share_of_bandwidth" if row["from"] == "logits" else "share_of_flops"
        what = "bandwidth of a copy" if row["from"] == "logits" else "rate of a matrix product"
        size = f"{row['loss']}, {row['vocabulary']:,} from {row['from']}"
        yield f"\n{size}: {row[kind]:.0%} of the measured {what}."


def steps(rows: list[Row]) -> Iterator[str]:
    """Yield the training steps: time, tokens a second and share of peak."""
    yield from pivot(
        [row for row in rows if "loss" in row],
        lambda row: f"{row['student']}, {row['loss']}",
        lambda row: ", ".join(str(row[key]) for key in ("kernels", "groups") if key in row) or "—",
        lambda row: (
            f"{row['milliseconds']:.1f} ms"
            + (f", {row['tokens_per_second']:,.0f} tokens/s" if "tokens_per_second" in row else "")
            + (f", {row['share_of_data_sheet']:.0%}" if "share_of_data_sheet" in row else "")
            if "milliseconds" in row
            else why(row)
        ),
    )
    for row in rows:
        if "adakd_over_plain" in row:
            which = f"{row['student']}, {row['kernels']}, {row['groups']}"
            yield f"\nAdaKD's step over the plain one, {which}: {row['adakd_over_plain']:.3f}."


def decoding(rows: list[Row]) -> Iterator[str]:
    """Yield tokens a second of decoding."""
    yield from pivot(
        rows,
        lambda row: f"lengths {row['lengths']}, {row['at_once']} at once",
        lambda row: row["way"].replace("|", ", ") + (", CUDA graphs" if row["cuda_graphs"] else ""),
        lambda row: (
            f"{row['tokens_per_second']:,.0f} tokens/s" if "tokens_per_second" in row else why(row)
        ),
    )


def tables(folder: Path) -> Iterator[str]:
    """Yield the lines of all tables whose results are in a folder."""
    for name, make in (("loss", losses), ("step", steps), ("decode", decoding)):
        file = folder / f"{name}.json"
        if file.exists():
            found = json.loads(file.read_text())
            yield f"\n### {name}\n\n{machine(found)}\n"
            yield from make(found["rows"])


if __name__ == "__main__":
    print("\n".join(tables(Path(sys.argv[1]))))
