"""The words of single regions in the form: the shown regions, and the visible ones."""

from collections.abc import Iterable, Mapping, Sequence

from publisher.domain.post import MEMBER_MARK, PostId, RenderedPost
from publisher.engine.post_change import find_accounts
from publisher.schedule.edit import TABLE_KEYS, Entry
from publisher.schedule.families import NO_REGION
from publisher.web.kit.seats import name_accounts
from publisher.web.kit.site import Site, Visitor
from publisher.web.write.data_fields import find_sample
from publisher.web.write.post_form import fill_regions, first
from publisher.web.write.typed_fields import Fields


def leave_out_regions(visitor: Visitor, entry: Entry) -> Entry:
    """Return a post without the words of regions where the visitor sees no account of it."""
    if not entry.get("region"):
        return entry
    site = visitor.site
    seen = {
        site.settings.accounts[account].region or NO_REGION
        for account in find_accounts(entry, site.application.planner.schedule_context)
        if visitor.sees_any([account])
    }
    own = {code: words for code, words in entry["region"].items() if code in seen}
    return {**entry, "region": own}


def take_member(entry: Entry, post: PostId) -> Entry:
    """Return the post of one region as an ordinary one, with that region's own words."""
    own = entry.get("region", {}).get(post.partition(MEMBER_MARK)[2], {})
    tables = {
        key: {**entry.get(key, {}), **own.get(key, {})}
        for key in TABLE_KEYS
        if key in entry or key in own
    }
    return {**entry, **own, **tables, "region": {}}


def name_regions(site: Site, visitor: Visitor, entry: Entry) -> Mapping[str, str]:
    """Return the names of the regions of a post's accounts that the visitor sees, by code."""
    context = site.application.planner.schedule_context
    names = name_accounts(site.settings, visitor.messages)
    return {
        site.settings.accounts[account].region or NO_REGION: names.region(account)
        for account in sorted(find_accounts(entry, context), key=names.order)
        if visitor.sees_any([account])
    }


def list_unshown(
    site: Site, visitor: Visitor, entry: Entry, shown: Iterable[RenderedPost]
) -> Mapping[str, str]:
    """Return the regions of a post that has texts, but none for them; by code."""
    accounts = site.settings.accounts
    codes = {accounts[text.account].region or NO_REGION for text in shown}
    names = name_regions(site, visitor, entry) if codes else {}
    return {code: name for code, name in names.items() if code not in codes}


def fill_shown_regions(site: Site, entry: Entry, fields: Fields) -> Fields:
    """Return the fields of a form, also of the regions that it shows."""
    shown = list_shown_regions(fields)
    own = {
        name: texts
        for name, texts in fill_regions(entry, find_sample(site, entry)).items()
        if name.split(".")[1] in shown
    }
    return {**own, **fields}


def list_shown_regions(fields: Fields) -> Sequence[str]:
    """Return the codes of the regions with inputs: the chosen one, and the ones in the form."""
    sent = [
        name.split(".")[1]
        for name in fields
        if name.startswith("region.") and name.count(".") > 1
    ]
    return list(dict.fromkeys(filter(None, [*sent, first(fields, "region_code")])))
