"""Render a question into a Jinja2 prompt template, for a form of reply."""

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
"""The form of the reply: a text ending in the verdict, JSON, or label probabilities."""
FOLDER = resources.ROOT / "templates" / "judge"
DEFAULTS: dict[Asks, Path] = {"pair": FOLDER / "pairwise.j2", "rating": FOLDER / "rubric.j2"}
"""The shipped templates for comparing and for rating."""
_ITEM = ItemText("instruction", "input", ("reference",))


class PromptTemplate:
    """A judge's template, rendered with these variables.

    ``instruction``, ``input``, ``references``, ``first``, ``second`` (not when rating),
    ``mark`` (a line that no text of the item contains), ``labels`` (the judge file's
    ``verdicts``, or the ends of its ``scale``) and ``form``.
    """

    def __init__(self, file: Path, asks: Asks, labels: tuple[str, ...]) -> None:
        self.file = file
        self._asks = asks
        self._labels = labels

    def check(self) -> None:
        """Render the template once in each form.

        Raises:
            AdakdError: it cannot be read or rendered, or uses an unknown variable.
        """
        try:
            for form in self.forms:
                self.render(Question(_ITEM, "first", self._second), form)
        except (TemplateError, OSError, UnicodeDecodeError) as error:
            raise AdakdError(f"prompt: {self.file}: {error}") from None

    @cached_property
    def source(self) -> str:
        """The template's source."""
        return self.file.read_text(encoding="utf-8")

    @cached_property
    def forms(self) -> tuple[Form, ...]:
        """The forms that the template supports: text only, unless it uses ``form``."""
        names = meta.find_undeclared_variables(Environment().parse(self.source))
        return ("text", "json", "decision") if "form" in names else ("text",)

    def render(self, question: Question, form: Form) -> str:
        """Return the prompt; its mark is a hash of the texts, so none of them can contain it."""
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
