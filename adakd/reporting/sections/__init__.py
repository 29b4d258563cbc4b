"""The sections of the report, in the order of the page: a section is one row of this list."""

from adakd.reporting.sections.answer import answer
from adakd.reporting.sections.answer_texts import answer_texts
from adakd.reporting.sections.base import Section
from adakd.reporting.sections.benchmarks import benchmarks
from adakd.reporting.sections.controls import controls
from adakd.reporting.sections.curves import curves
from adakd.reporting.sections.design import design
from adakd.reporting.sections.diagnostics import diagnostics
from adakd.reporting.sections.elsewhere import elsewhere
from adakd.reporting.sections.equal_time import equal_time
from adakd.reporting.sections.frontier import frontier
from adakd.reporting.sections.judges import PARTS, judges
from adakd.reporting.sections.overhead import overhead
from adakd.reporting.sections.paper import paper
from adakd.reporting.sections.paper_win_rates import paper_win_rates
from adakd.reporting.sections.provenance import provenance
from adakd.reporting.sections.samples import samples
from adakd.reporting.sections.scores import scores
from adakd.reporting.sections.trainings import trainings

_ANSWER_TEXTS = Section("answer_texts", "Answer texts", answer_texts, "answer_texts.html.j2")
_ELSEWHERE = Section("elsewhere", "Students trained elsewhere", elsewhere, "elsewhere.html.j2")
_EQUAL_TIME = Section("equal_time", "Quality at equal time", equal_time, "equal_time.html.j2")
_BENCHMARKS = Section(
    "benchmarks", "Against the reference implementations", benchmarks, "benchmarks.html.j2"
)
_PAPER_WIN_RATES = Section(
    "paper_win_rates", "The paper's win rates", paper_win_rates, "paper_win_rates.html.j2"
)
_TRAININGS = Section("trainings", "Trainings", trainings, "trainings.html.j2")

SECTIONS = (
    Section("answer", "Answer", answer, "answer.html.j2"),
    Section("scores", "Scores", scores, "scores.html.j2", parts=(_ANSWER_TEXTS, _ELSEWHERE)),
    Section("frontier", "Quality against cost", frontier, "frontier.html.j2"),
    Section("design", "What this design can find", design, "design.html.j2"),
    Section("controls", "Controls", controls, "controls.html.j2"),
    Section("paper", "The paper's numbers", paper, "paper.html.j2"),
    _PAPER_WIN_RATES,
    Section("judges", "Win rates", judges, "judges.html.j2", parts=PARTS),
    Section("overhead", "Timing", overhead, "overhead.html.j2", parts=(_EQUAL_TIME, _BENCHMARKS)),
    Section("curves", "Training curves", curves, "curves.html.j2", parts=(_TRAININGS,)),
    Section("diagnostics", "Diagnostics", diagnostics, "diagnostics.html.j2"),
    Section("samples", "Sample answers", samples, "samples.html.j2"),
    Section("provenance", "Provenance", provenance, "provenance.html.j2"),
)
