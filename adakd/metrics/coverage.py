"""References that a metric cannot see, such as Chinese ones for ROUGE-L."""

ANY_SCRIPT = "rouge_l_unicode"
"""The metric that reads any script."""


def unseen_line(task: str, metric: str, title: str, unseen: int, items: int) -> str:
    """Return how many references have no token, what follows, and which metric reads them."""
    advice = f"; {ANY_SCRIPT} reads any script" if metric != ANY_SCRIPT else ""
    return (
        f"{task}: {unseen:,} of {items:,} references have no token for {title}, "
        f"so their items score 0 whatever the answer{advice}"
    )
