"""Sentences, and what charts are drawn from: the last step from a view to the templates."""

from collections.abc import Mapping, Sequence

import yaml

from adakd.config.judge import Outcome
from adakd.judging.comparisons import ALL, REFERENCE
from adakd.planning import PLAIN
from adakd.reporting import formatting
from adakd.reporting.charts import Scale, scale
from adakd.reporting.judges.judging import Contest, Judging
from adakd.reporting.judges.referees import Referee
from adakd.reporting.sections.answer import Answer, Comparison
from adakd.reporting.sections.overhead import PHASES, Overhead
from adakd.stats import Ranking
from adakd.store.records import Phase, RunRecord, TeachingRecord

VERBS = {
    "better": ("is", "are", "better than plain distillation"),
    "worse": ("is", "are", "worse than plain distillation"),
    "not separable": ("cannot", "cannot", "be told from plain distillation"),
    "failed": ("has", "have", "no result, for a failure,"),
    "missing": ("has", "have", "no result yet"),
}
"""The words of a verdict, in the order in which they are told, as a sentence says them of one arm
and of several."""
OUTCOMES: tuple[Outcome, ...] = ("win", "tie", "flip", "identical", "failed", "loss")
"""In the order in which a bar shows them: wins and losses at the two ends."""
OUTCOME_COLOURS = dict(zip(OUTCOMES, ("better", "s0", "s2", "s3", "s4", "worse"), strict=True))
MODES = {
    "decision": "reads label probabilities",
    "json_schema+logprobs": "reads a verdict in JSON with label probabilities",
    "json_object+logprobs": "reads a verdict in JSON with label probabilities",
    "json_schema": "reads a verdict in JSON",
    "json_object": "reads a verdict in JSON",
    "text": "reads the last verdict in a text",
    "rule": "compares by a rule, without a model",
    "unknown": "nothing is recorded of how it was asked",
}
"""What a judge's mode means."""
_PHASE_COLOURS = dict(zip(PHASES, ("s5", "s0", "s3", "s1", "s4", "s2"), strict=True))


def arm_name(arm: str) -> str:
    """Return an arm as sentences call it."""
    return {PLAIN: "plain", "adakd": "AdaKD"}.get(arm, arm)


def headlines(answer: Answer, costs: Sequence[Overhead]) -> list[str]:
    """Return the answer, a sentence for all arms of which the same is true, with their cost."""
    words: dict[str, dict[str, str]] = {}
    for row in answer.overall:
        words.setdefault(row.arm, {})[row.divergence] = row.word
    alike: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for arm, by_divergence in words.items():
        alike.setdefault(tuple(by_divergence.items()), []).append(arm)
    return [f"{_headline(arms, dict(found))}{_cost(arms, costs)}" for found, arms in alike.items()]


def _headline(arms: Sequence[str], words: Mapping[str, str]) -> str:
    """Return what is true of some arms, by the word that they got under each divergence."""
    start = formatting.listed([arm_name(arm) for arm in arms])
    if len(words) == 1:
        ((divergence, word),) = words.items()
        one, several, rest = VERBS[word]
        return f"{start} {several if len(arms) > 1 else one} {rest} under {divergence}."
    by_word = {word: [of for of, its in words.items() if its == word] for word in VERBS}
    listed = [
        f"{word.capitalize()}: {', '.join(names) if len(names) < len(words) else 'all'}."
        for word, names in by_word.items()
        if names
    ]
    start += f" {'are' if len(arms) > 1 else 'is'} better than plain distillation under"
    return f"{start} {len(by_word['better'])} of {len(words)} divergences. {' '.join(listed)}"


def _cost(arms: Sequence[str], costs: Sequence[Overhead]) -> str:
    ratios = [row.ratio.estimate for row in costs if row.arm in arms]
    if not ratios:
        return ""
    ends = dict.fromkeys(formatting.number(end) for end in (min(ratios), max(ratios)))
    return f" {'Their' if len(arms) > 1 else 'Its'} steps take {'–'.join(ends)}× as long."


def own_constants(run: RunRecord | None) -> list[str]:
    """Return which arms have settings for whose values no paper is the source."""
    alike: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for part in run.parts if run else ():
        if part.ours:
            alike.setdefault((part.name, part.ours), []).append(part.of)
    return [
        f"{formatting.listed(rows)}: what {part} takes for {formatting.listed(names)} is adakd's "
        "own choice and no paper's. A result may hang on it."
        for (part, names), rows in alike.items()
    ]


def by_unit(rows: Sequence[Comparison]) -> dict[str, dict[str, list[Comparison]]]:
    """Group the rows of single tasks by unit and task, in the suite's order."""
    groups: dict[str, dict[str, list[Comparison]]] = {}
    for row in rows:
        groups.setdefault(row.unit, {}).setdefault(str(row.task), []).append(row)
    return groups


def difference_axis(rows: Sequence[Comparison], noise: float | None) -> Scale:
    """Return the axis that the rows of a forest plot share.

    It holds every estimate, and intervals unless they are so wide that no estimate could be read.
    """
    found = [row.difference for row in rows if row.difference]
    values = [d.estimate for d in found] + [value for row in rows for value in row.by_seed]
    values += [noise, -noise] if noise else []
    reach = max(4 * max(map(abs, values), default=0), *(d.se_items for d in found), 0)
    ends = [end for d in found for end in (d.low, d.high)]
    return scale([*values, *(min(max(end, -reach), reach) for end in ends)], include=0.0)


def ratio_values(rows: Sequence[Overhead]) -> list[float]:
    """Return every ratio that the overhead plot must show."""
    ends = [end for row in rows for end in (row.ratio.low, row.ratio.high)]
    return ends + [ratio for row in rows for ratio in row.pair_ratios]


def overhead(row: Overhead) -> str:
    """Return the overhead in one sentence."""
    value, interval = formatting.ratio(row.ratio).split(" ", 1)
    pairs = f"n = {formatting.counted(row.ratio.n, 'interleaved pair')}"
    sentence = f"{row.divergence}: the {arm_name(row.arm)} step takes {value} a plain step "
    sentence += f"{interval[:-1]}, {pairs})"
    if row.peak_plain and row.peak_adaptive:
        sentence += f", peak memory {formatting.number(row.peak_adaptive / row.peak_plain)}×"
    return f"{sentence}."


def phase_colours(rows: Sequence[Overhead]) -> dict[Phase, str]:
    """Return the colour of each phase that any of the rows has."""
    had = {part.phase for row in rows for part in row.phases}
    return {phase: colour for phase, colour in _PHASE_COLOURS.items() if phase in had}


def phase_parts(row: Overhead, arm: str) -> list[tuple[str, str, float]]:
    """Return the parts of a bar of phases: class, label and milliseconds."""
    names = {"loss": "loss-phase"}
    return [(names.get(p.phase, p.phase), p.phase, getattr(p, arm)) for p in row.phases]


def teaching(record: TeachingRecord) -> str:
    """Tell how often the teacher read what the students learned from."""
    sequences, readings = (
        formatting.counted(count, "sequence") for count in (record.sequences, record.readings)
    )
    if record.cache == "off":
        why = f"since {record.reason}"
        return f"reads every batch anew, {why}; all trainings together take {readings}"
    asked = f"all trainings on them together take {readings}"
    kept = f"{formatting.counted(record.tokens, 'label')} are kept as {record.cache}"
    size = formatting.size(record.size)
    return f"read each of {sequences} once; {asked}. Hidden states of {kept}, {size}"


def outcome_parts(counts: Mapping[Outcome, int]) -> list[tuple[str, str, float]]:
    """Return the parts of a bar of outcomes: class, label and count."""
    return [(name, f"{name} {counts[name]}", counts[name]) for name in OUTCOMES]


# --- judges ---------------------------------------------------------------------------------


def how(referee: Referee) -> str:
    """Return who a judge is and how its verdicts come about."""
    record = referee.record
    if referee.members:
        return f"the majority of {', '.join(referee.members)}"
    said = MODES.get(record.mode, "")
    mode = f"{said} ({record.mode})" if said and record.mode != "unknown" else said or record.mode
    rates = "rates each answer alone" if record.asks == "rating" else ""
    return "; ".join(part for part in (record.model or "", rates, mode) if part)


def listed(judging: Judging, referees: Sequence[Referee]) -> str:
    """Return the names of judges as a sentence lists them."""
    *names, last = (judging.name(referee.record.key) for referee in referees)
    return f"{', '.join(names)} and {last}" if names else last


def vetting_word(referee: Referee) -> str:
    """Return what a judge's vetting came to."""
    if referee.vetted is None:
        return "not vetted"
    return "passed" if referee.is_trusted else "failed its vetting"


def warning(referee: Referee, name: str) -> str | None:
    """Return why the win rates of a judge are not to be believed; None where they may be."""
    if referee.vetted is None:
        return f"{name} was not vetted ({referee.unvetted}): nothing shows that it can judge"
    if referee.vetted.broken:
        return f"do not believe the win rates of {name}: it {', '.join(referee.vetted.broken)}"
    return None


def opponents(against: str, row: Contest) -> str:
    """Return what the methods of a table were compared with."""
    names = {
        PLAIN: "Against the plain twin: the same divergence without a token-adaptive method",
        REFERENCE: "Against the reference answer",
        ALL: "Every method against every other",
    }
    return names.get(against, f"Against {row.opponent}")


def row_name(row: Contest) -> str:
    """Return how a row of a table is called."""
    return f"{row.method} over {row.opponent}" if row.against == ALL else str(row.method)


def remark(row: Contest) -> str:
    """Return what stands beside the word of a row."""
    stop = row.stop
    if row.overall is None:
        return "no pair was judged"
    if stop and stop.reached:
        return (
            f"stopped at {stop.prompts:,} of {stop.available:,} prompts: ±{stop.target:g} reached"
        )
    if stop:
        return f"cannot separate by {stop.prompts:,} prompts: ±{stop.target:g} not reached"
    return "inside the A/A band" if row.inside_band else ""


def length(row: Contest) -> str:
    """Return how much longer the candidate's answers are."""
    gap = row.rate.length_gap
    if gap is None:
        return ""
    rounded = round(abs(gap), 1)
    if not rounded:
        return "equally long"
    than = "longer" if gap > 0 else "shorter"
    return f"{formatting.number(rounded, 1)} words {than}"


def rate_axis(rows: Sequence[Contest]) -> Scale:
    """Return the axis of win rates in percent: all intervals and bands, and 40 to 60 at least."""
    ends = [end for row in rows if row.overall for end in (row.overall.low, row.overall.high)]
    halves = [row.band for row in rows if row.band is not None]
    bands = [end for half in halves for end in (0.5 - half, 0.5 + half)]
    found = scale([100 * value for value in (0.4, 0.6, *ends, *bands)], include=50)
    ticks = tuple(tick for tick in found.ticks if 0 <= tick <= 100)
    return Scale(max(found.low, 0), min(found.high, 100), ticks, found.digits)


def strength_axis(ranking: Ranking) -> Scale:
    """Return the axis of a ranking: all strengths, and intervals where they are not endless."""
    strengths = [player.strength for player in ranking.players]
    reach = 3 * max(map(abs, strengths), default=0)
    ends = [end for player in ranking.players for end in (player.low, player.high)]
    return scale([*strengths, *(min(max(end, -reach), reach) for end in ends)], include=0.0)


def ranking_note(ranking: Ranking) -> str:
    """Return what one must know of a ranking beside its strengths."""
    parts = [
        f"Intransitive: {ranking.intransitive:,} of "
        f"{formatting.counted(ranking.triples, 'triple')} (a beats b, b beats c, c beats a)."
    ]
    if ranking.left_out:
        parts.append(f"Without {', '.join(ranking.left_out)}: no comparison links them.")
    if ranking.dropped:
        parts.append(
            f"{formatting.counted(ranking.dropped, 'resample')} left some methods without a link "
            "and tell nothing."
        )
    return " ".join(parts)


def verdict_lines(judging: Judging) -> list[tuple[str, bool]]:
    """Return the end of a sentence on each judge's win rates, and whether it can be believed.

    Of a jury the line stands for its members; of several opponents the first one counts that a
    run is about: the plain twin.
    """
    within = {key for one in judging.referees for key in one.record.members}
    lines = []
    for referee in judging.referees:
        key = referee.record.key
        rows = [row for row in judging.contests if row.judge == key and row.against != ALL]
        chosen = [row for row in rows if row.against == PLAIN] or rows
        if key in within or not chosen:
            continue
        name = judging.name(key)
        if referee.vetted and not referee.is_trusted:
            lines.append((f"by {name} mean nothing: it failed its vetting.", False))
        else:
            unvetted = "" if referee.vetted else " (not vetted)"
            lines.append((f"by {name}{unvetted} {_judged(chosen)}.", referee.is_trusted))
    return lines


def _judged(rows: Sequence[Contest]) -> str:
    """Return the rows of one judge with their words; of many, count those not separable."""
    against = "plain" if rows[0].against == PLAIN else str(rows[0].opponent)
    few = len(rows) <= formatting.FEW
    told = [row for row in rows if few or row.word != "not separable" or row.overall is None]
    said = list(map(_rated, told))
    if len(told) < len(rows):
        others = "others" if told else "methods"
        said.append(f"{len(rows) - len(told)} {others} not separable")
    return f"against {against}: {', '.join(said)}"


def _rated(row: Contest) -> str:
    if row.overall is None:
        return f"{row.method} failed"
    interval = formatting.shares(row.overall)
    return f"{row.method} {formatting.percent(row.overall.estimate)} ({interval}, {row.word})"


def as_yaml(value: object) -> str:
    """Return a suite as the YAML that it could be read from."""
    written = yaml.dump(value, Dumper=_WithoutAliases, sort_keys=False, allow_unicode=True)
    return str(written)


class _WithoutAliases(yaml.SafeDumper):
    def ignore_aliases(self, data: object) -> bool:
        return True
