"""The error of an unavailable secret."""

from collections.abc import Mapping
from typing import Literal

from publisher.domain.errors import PublisherError

SecretErrorCode = Literal[
    "secret_missing",
    "secret_unreadable",
    "secret_not_json",
    "bad_secret_name",
    "vault_key_missing",
    "vault_key_bad",
    "vault_locked",
    "vault_damaged",
    "vault_unreadable",
    "audit_key_bad",
]


class SecretError(PublisherError):
    """A secret is unavailable. `code` is the reason, `places` are the sources tried; the content is never included."""

    def __init__(self, code: SecretErrorCode, name: str, places: tuple[str, ...]) -> None:
        super().__init__(f"{code} {name}: {', '.join(places)}")
        self.code = code
        self.name = name
        self.places = places

    @property
    def facts(self) -> Mapping[str, str]:
        return {"name": self.name, "places": ", ".join(self.places)}
