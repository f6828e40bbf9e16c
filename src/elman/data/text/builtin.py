"""The built-in text: the Python language reference that is part of CPython."""

from __future__ import annotations

from elman.data.text.documents import Document
from elman.errors import DataError


def python_reference() -> Document:
    """Return the topics of `help()`, half a megabyte of English prose, as one document, sorted by name.

    The text differs from one Python version to the next (465 kB in 3.11).

    Raises:
        DataError: this Python lacks `pydoc_data`.
    """
    try:
        from pydoc_data.topics import topics
    except ImportError as error:
        raise DataError(
            "this Python has no language reference (pydoc_data), so there is no default text",
            should="a complete CPython",
            found="no module pydoc_data",
            hint="name a text file: elman train language-model FILE",
        ) from error
    return Document("the Python language reference", "\n\n".join(topics[name] for name in sorted(topics)))
