"""Render a question into a Jinja2 prompt template, for a form of reply."""

from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any, Literal

from jinja2 import StrictUndefined, Template, TemplateError, meta
from jinja2.sandbox import SandboxedEnvironment

from adakd.config import resources
from adakd.config.hashing import digest
from adakd.config.judge import Asks
from adakd.errors import AdakdError, one_line
from adakd.judging.base import ItemText, Question

Form = Literal["text", "json", "decision"]
"""The form of the reply: a text ending in the verdict, JSON, or label probabilities."""
FOLDER = resources.ROOT / "templates" / "judge"
DEFAULTS: dict[Asks, Path] = {"pair": FOLDER / "pairwise.j2", "rating": FOLDER / "rubric.j2"}
"""The shipped templates for comparing and for rating."""
HUGE = 1 << 16
"""The most times that a template may repeat something, and its largest exponent."""
TEMPLATE_ERRORS = (TemplateError, ArithmeticError, LookupError, TypeError, ValueError)
"""Errors a template can raise for a text that it cannot handle."""
_ANSWERS = ("xqv1z", "xqv2z")
"""Words that no template has of its own."""
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
            AdakdError: it cannot be read or rendered, uses an unknown variable, or does not show
                the answers.
        """
        first, second = _ANSWERS
        answers = _ANSWERS if self._asks == "pair" else (first,)
        question = Question(_ITEM, first, second if self._asks == "pair" else None)
        for form in self.forms:
            text = self._tried(question, form).casefold()
            for name, answer in zip(("first", "second"), answers, strict=False):
                if answer not in text:
                    raise AdakdError(
                        f"prompt: {self.file} does not show the {name} answer to the judge: write "
                        f"{{{{ {name} }}}} where it belongs"
                    )

    def _tried(self, question: Question, form: Form) -> str:
        try:
            return self.render(question, form)
        except OSError as error:
            raise AdakdError(f"prompt: {self.file}: {error.strerror}") from None
        except Exception as error:  # a template may hold any expression
            reason = f"{error}" if isinstance(error, TemplateError) else _described(error)
            raise AdakdError(f"prompt: {self.file}: {reason}; fix the template") from None

    @cached_property
    def source(self) -> str:
        """The template's source."""
        return self.file.read_text(encoding="utf-8")

    @cached_property
    def forms(self) -> tuple[Form, ...]:
        """The forms that the template supports: text only, unless it uses ``form``.

        Raises:
            AdakdError: the template cannot be read.
        """
        try:  # in the sandbox, since this computes what is constant
            names = meta.find_undeclared_variables(_Sandbox().parse(self.source))
        except OSError as error:
            raise AdakdError(f"prompt: {self.file}: {error.strerror}") from None
        except Exception as error:  # a template may hold any expression
            raise AdakdError(f"prompt: {self.file}: {_described(error)}") from None
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

    @cached_property
    def _template(self) -> Template:
        return _Sandbox(undefined=StrictUndefined).from_string(self.source)


class _Sandbox(SandboxedEnvironment):
    """Jinja2's sandbox, in which no product or power takes all memory."""

    intercepted_binops = frozenset({"*", "**"})

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Compute a product or power unless it is huge."""
        if _size(operator, left, right) > HUGE:
            raise TemplateError(f"the result of {operator} is too large")
        return super().call_binop(context, operator, left, right)


def _size(operator: str, left: Any, right: Any) -> Any:
    """Return an exponent, or the length of a repeated text or list; 0 for other products."""
    if operator == "**":
        return abs(right)
    if not hasattr(left, "__len__") and not hasattr(right, "__len__"):
        return 0
    return prod(len(one) if hasattr(one, "__len__") else one for one in (left, right))


def _described(error: Exception) -> str:
    return f"{type(error).__name__}: {one_line(error)}"
