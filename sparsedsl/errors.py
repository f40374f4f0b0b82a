"""The exception tree and the caret that points into the user's code.

    SparseDSLError
    ├── NotationError        an expression that cannot be read or has no meaning   (ValueError)
    │   ├── NotationTypeError    the same, for a dtype                             (TypeError)
    │   ├── NotationAttributeError   the same, for a name after a dot         (AttributeError)
    │   └── NotationNameError    the same, for a name that has no value            (NameError)
    ├── LayoutError          a layout specification that cannot be read            (ValueError)
    ├── InvalidTensorError   data that breaks what its layout promises             (ValueError)
    │   ├── TensorTypeError      the same, for a dtype                             (TypeError)
    │   └── TensorAttributeError     the same, for a name after a dot         (AttributeError)
    ├── PlanError            a statement no plan was found for                     (ValueError)
    ├── ProofError           a proof that was required and failed
    └── CacheError           a kernel cache that cannot be used

Every message says what was expected, what was found, where, and what to do.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Span:
    """A place in the user's own text: a file's line, or a string given to the library.

    ``column`` and ``end_column`` count characters from 0; ``text`` is the whole line.
    """

    text: str
    column: int = 0
    end_column: int = 0
    file: str = ""
    line: int = 0

    def caret(self) -> str:
        """Return the line with a caret row under the marked columns.

        >>> print(Span("C[i, j] = A[i, j]", 10, 17).caret())
          C[i, j] = A[i, j]
                    ^^^^^^^
        """
        if not self.text and self.file:
            return f'  File "{self.file}", line {self.line}'
        stripped = self.text.lstrip()
        shift = len(self.text) - len(stripped)
        start = max(self.column - shift, 0)
        width = max(self.end_column - self.column, 1)
        lines = [f"  {stripped.rstrip()}", "  " + " " * start + "^" * width]
        if self.file:
            lines.insert(0, f'  File "{self.file}", line {self.line}')
        return "\n".join(lines)


class SparseDSLError(Exception):
    """Root of every error the library raises.

    Parameters
    ----------
    message:
        One sentence: what was expected and what was found.
    span:
        Where in the user's text, if known; shown with a caret.
    hint:
        What to do about it, if known.
    """

    def __init__(self, message: str, *, span: Span | None = None, hint: str | None = None) -> None:
        self.message = message
        self.span = span
        self.hint = hint
        super().__init__(message)

    def __str__(self) -> str:
        parts = [self.message]
        if self.span is not None:
            parts.append(self.span.caret())
        if self.hint is not None:
            parts.append(f"hint: {self.hint}")
        return "\n".join(parts)


class NotationError(SparseDSLError, ValueError):
    """An expression that cannot be read or has no meaning."""


class NotationTypeError(NotationError, TypeError):
    """An expression whose dtypes have no meaning together."""


class NotationAttributeError(NotationError, AttributeError):
    """A name after a dot that means nothing inside a kernel."""


class NotationNameError(NotationError, NameError):
    """A name without a value inside a kernel."""


class LayoutError(SparseDSLError, ValueError):
    """A layout specification that cannot be read, or does not fit the tensor."""


class InvalidTensorError(SparseDSLError, ValueError):
    """Data that breaks a property its layout promises."""


class TensorTypeError(InvalidTensorError, TypeError):
    """Data of a dtype the library does not hold."""


class TensorAttributeError(InvalidTensorError, AttributeError):
    """A name after a dot that no tensor has, or that cannot be set."""


class PlanError(SparseDSLError, ValueError):
    """A statement for which no plan was found, or a forced choice that is not legal."""


class ProofError(SparseDSLError):
    """A proof that was required and was not found."""


class CacheError(SparseDSLError):
    """A kernel cache directory that cannot be used."""
