"""What the compiler did, as text for people."""

from sparsedsl.explain.plans import iteration_space, plan_text
from sparsedsl.explain.story import explanation

__all__ = ["explanation", "iteration_space", "plan_text"]
