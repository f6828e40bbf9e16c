"""The text that needs no download: the Python language reference that every CPython carries."""

from __future__ import annotations

from elman.data.text.documents import Document
from elman.errors import DataError


def python_reference() -> Document:
    """Return the topics of `help()`, half a megabyte of English prose, as one document in the order of their names.

    The text differs from one Python version to the next (465 kB in 3.11).

    Raises:
        DataError: this Python was installed without `pydoc_data`.
    """
    try:
        from pydoc_data.topics import topics
    except ImportError as error:
        raise DataError(
            "this Python carries no language reference (pydoc_data), so there is no default text",
            should="a complete CPython",
            found="one without the module pydoc_data",
            hint="name a text file: elman train language-model FILE",
        ) from error
    return Document("the Python language reference", "\n\n".join(topics[name] for name in sorted(topics)))
