"""The problems of a post's data, by its template: missing, wrong by itself, against a rule. Pure."""

from collections.abc import Iterator, Mapping
from datetime import tzinfo

from publisher.domain.contacts import Contacts
from publisher.domain.post import Post
from publisher.domain.template_rules import Finding, RuleFacts, find_rule_problems
from publisher.domain.values import WrongValueError
from publisher.rendering.contact_list import shipped_laws
from publisher.rendering.layout import LayoutFacts, choose_topic
from publisher.rendering.templates import TemplateSample


def check_data(
    sample: TemplateSample,
    layout: LayoutFacts,
    refused: Mapping[str, WrongValueError],
    contacts: Contacts,
    timezone: tzinfo,
) -> list[Finding]:
    """Return the problems of single fields; without any, those by the rules of the template."""
    found = list(find_value_problems(layout.post, sample, refused, contacts))
    if found or not sample.rules:
        return found
    post, expires = layout.post, layout.post.expires_at
    facts = RuleFacts(
        title=post.title,
        data=post.data,
        topic=choose_topic(post, sample.outline),
        level=post.level,
        due=layout.due,
        expires=expires and expires.astimezone(timezone).date(),
        has_pictures=bool(post.images),
        original_title=layout.original,
        region=layout.region,
        phones=contacts.phones,
        laws=shipped_laws(),
    )
    return list(find_rule_problems(sample.rules, facts))


def find_value_problems(
    post: Post,
    sample: TemplateSample,
    refused: Mapping[str, WrongValueError],
    contacts: Contacts,
) -> Iterator[Finding]:
    """Yield the missing fields, and the wrong values with an example to copy."""
    if sample.kinds and post.kind not in sample.kinds:
        facts = {"kind": str(post.kind), "kinds": "、".join(sample.kinds)}
        yield "kind", "template_of_another_kind", facts
    missing = sample.missing_keys(post.data)
    for name in missing:
        facts = {"name": name, "use": sample.needs[name]}
        yield f"data.{name}", "template_data_missing", facts
    for name, example in sample.mismatched_keys(post.data).items():
        yield f"data.{name}", "template_data_wrong", {"name": name, "example": example}
    for name, error in refused.items():
        if name not in missing:
            example = sample.example_toml(name)
            facts = {**error.facts, "name": name, "example": example}
            yield f"data.{name}", error.code, facts
    topic = post.data.get("topic", "fraud")
    if sample.has_outline and topic not in list(contacts.topics):
        facts = {
            "name": "topic",
            "value": str(topic)[:40],
            "choices": "、".join(contacts.topics),
            "example": '"other"',
        }
        yield "data.topic", "value_no_choice", facts
