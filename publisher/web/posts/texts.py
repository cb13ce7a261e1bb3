"""The common text of an occurrence, and its differences between accounts."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from publisher.config import Settings
from publisher.domain.account import AccountId, Platform
from publisher.domain.post import RenderedPost

MARKER_PLACE = "\N{BLACK SQUARE}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedText:
    """A text that accounts share, except for their bulletin numbers and their regions' facts."""

    rendered: RenderedPost
    accounts: Sequence[AccountId]


@dataclass(frozen=True, slots=True, kw_only=True)
class TextComparison:
    """The distinct texts of an occurrence.

    It also says whether anything except numbers and facts of regions differs.
    """

    total: int
    shared: Mapping[Platform, Sequence[SharedText]]

    @property
    def is_alike(self) -> bool:
        """True if the texts of each platform differ in nothing that staff have written."""
        return all(len(texts) == 1 for texts in self.shared.values())

    @property
    def number(self) -> int:
        """The number of distinct texts."""
        return sum(map(len, self.shared.values()))


def compare_texts(
    rendered_posts: Sequence[RenderedPost], settings: Settings
) -> TextComparison:
    """Group the texts of an occurrence by content, without number, link and facts of the region."""
    groups: dict[Platform, dict[str, list[RenderedPost]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for rendered in rendered_posts:
        groups[rendered.platform][_blank_facts(rendered, settings)].append(rendered)
    return TextComparison(
        total=len(rendered_posts),
        shared={
            platform: [
                SharedText(rendered=alike[0], accounts=[item.account for item in alike])
                for alike in texts.values()
            ]
            for platform, texts in groups.items()
        },
    )


def _blank_facts(rendered: RenderedPost, settings: Settings) -> str:
    account = settings.accounts.get(rendered.account)
    facts = settings.regions.get(account.region or "", {}) if account else {}
    text = "\n".join(
        [
            rendered.title,
            rendered.summary,
            *rendered.all_parts,
            *(image.alt for image in rendered.images),
        ]
    )
    for value in sorted(
        {rendered.link or "", *facts.values()} - {""}, key=len, reverse=True
    ):
        text = text.replace(value, MARKER_PLACE)
    return text.replace(rendered.marker.code, MARKER_PLACE)
