"""What a model is shown: a question, put into a Jinja2 template in the form of its reply."""

from functools import cached_property
from pathlib import Path
from typing import Literal

from jinja2 import Environment, StrictUndefined, Template, TemplateError, meta
from jinja2.sandbox import SandboxedEnvironment

from adakd.config import resources
from adakd.config.hashing import digest
from adakd.config.judge import Asks
from adakd.errors import AdakdError
from adakd.judging.base import ItemText, Question

Form = Literal["text", "json", "decision"]
"""How the verdict is given: at the end of a text, as JSON, or as probabilities of the labels."""
FOLDER = resources.ROOT / "templates" / "judge"
DEFAULTS: dict[Asks, Path] = {"pair": FOLDER / "pairwise.j2", "rating": FOLDER / "rubric.j2"}
"""The shipped prompts by what they ask."""
_ITEM = ItemText("instruction", "input", ("reference",))


class PromptTemplate:
    """A template of a judge; it is given these names.

    ``instruction``, ``input``, ``references``, ``first``, ``second`` (not when rating),
    ``mark`` (a line that no text of the item can hold), ``labels`` (the judge file's
    ``verdicts``, or the ends of its ``scale``) and ``form``.
    """

    def __init__(self, file: Path, asks: Asks, labels: tuple[str, ...]) -> None:
        self.file = file
        self._asks = asks
        self._labels = labels

    def check(self) -> None:
        """Fill the template once.

        Raises:
            AdakdError: it cannot be read, or names something that it is not given.
        """
        try:
            for form in self.forms:
                self.render(Question(_ITEM, "first", self._second), form)
        except (TemplateError, OSError, UnicodeDecodeError) as error:
            raise AdakdError(f"prompt: {self.file}: {error}") from None

    @cached_property
    def source(self) -> str:
        """The template's text."""
        return self.file.read_text(encoding="utf-8")

    @cached_property
    def forms(self) -> tuple[Form, ...]:
        """What the template can ask for: one that does not look at ``form`` asks for a text."""
        names = meta.find_undeclared_variables(Environment().parse(self.source))
        return ("text", "json", "decision") if "form" in names else ("text",)

    def render(self, question: Question, form: Form) -> str:
        """Return the prompt; its mark hashes the texts, so that none of them can contain it."""
        item = question.item
        answers = sorted([question.first, question.second or ""])  # one mark for both orders
        return self._template.render(
            mark=f"==={digest(item, answers)}===",
            instruction=item.instruction,
            input=item.input,
            references=item.references,
            first=question.first,
            labels=self._labels,
            form=form,
            **({} if question.second is None else {"second": question.second}),
        )

    @property
    def _second(self) -> str | None:
        return "second" if self._asks == "pair" else None

    @cached_property
    def _template(self) -> Template:
        return SandboxedEnvironment(undefined=StrictUndefined).from_string(self.source)
