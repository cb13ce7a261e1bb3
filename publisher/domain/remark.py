"""Remarks at passages of a post, as an approver sends them back to its author. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from publisher.domain.post import Post

MAX_QUOTE_CHARACTERS = 120
MAX_REMARKS = 100
"""How many passages of a post can have a remark, the first ones: each is kept in the audit."""
MAX_REMARK_CHARACTERS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A paragraph, or an item of a list, in a field of a post. The field is named as in the form.

    `text` is on one line.
    """

    field: str
    text: str

    @property
    def key(self) -> str:
        """Return a short name that differs for another field or another text."""
        return sha256(f"{self.field}\n{self.text}".encode()).hexdigest()[:12]

    @property
    def quote(self) -> str:
        is_long = len(self.text) > MAX_QUOTE_CHARACTERS
        return self.text[: MAX_QUOTE_CHARACTERS - 1] + "…" if is_long else self.text


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """A wish of an approver about a quoted passage. All of it is on one line each."""

    field: str
    quote: str
    text: str


def list_passages(
    title: object, body: object, data: object, texts: object
) -> Sequence[Passage]:
    """Return the passages of a post in the order of the form, each once.

    A file under repair may have values of any shape.
    """
    found = [
        *_split("title", title),
        *_split_table("data", data),
        *_split("body", body),
        *_split_table("text", texts),
    ]
    return list(dict.fromkeys(found))


def list_passages_of(post: Post) -> Sequence[Passage]:
    return list_passages(post.title, post.body, post.data, post.text_by_platform)


def _split_table(name: str, values: object) -> Iterator[Passage]:
    if isinstance(values, Mapping):
        for key, value in values.items():
            yield from _split(f"{name}.{key}", value)


def _split(field: str, value: object) -> Iterator[Passage]:
    """Yield the lines of a text, the items of a list, or a row of a table."""
    if isinstance(value, str):
        for line in value.splitlines():
            if words := " ".join(line.split()):
                yield Passage(field=field, text=words)
    elif isinstance(value, Sequence):
        for item in value:
            yield from _split(field, item)
    elif isinstance(value, Mapping):
        yield from _split(field, " ".join(map(str, value.values())))


def dump_return(reason: str, remarks: Iterable[Remark]) -> str:
    """Return a reason and its remarks as the store keeps them: a line each, divided by tabs."""
    lines = [[reason], *([one.field, one.quote, one.text] for one in remarks)]
    return "\n".join(
        "\t".join(" ".join(part.split()) for part in line) for line in lines
    )


def load_return(text: str) -> tuple[str, Sequence[Remark]]:
    """Return the reason and the remarks of such a text."""
    reason, *lines = text.split("\n")
    parts = [line.split("\t") for line in lines]
    return reason, [
        Remark(field=part[0], quote=part[1], text=part[2])
        for part in parts
        if len(part) == 3
    ]


def join_remarks(reason: str, remarks: Iterable[Remark]) -> str:
    """Return a reason and its remarks as one text for the audit."""
    return "；".join([reason, *(f"「{one.quote}」{one.text}" for one in remarks)])
