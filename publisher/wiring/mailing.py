"""The mail that carries the audit's head, as the settings want it."""

from functools import partial

from publisher.anchoring import signed
from publisher.mailing import Mail, Security
from publisher.settings import Settings, host_and_port, is_loopback
from publisher.telemetry import log
from publisher.vault import SecretError, read_secret
from publisher.wiring.application import vault_of
from publisher.wiring.mooring import audit_key_of

WRAPPED = 465
"""The port on which a server speaks TLS from the first byte on."""


def mail_of(settings: Settings) -> Mail | None:
    """Give where the audit's head is mailed to; None where nobody wants it."""
    wanted = settings.audit.mail
    if wanted is None:
        return None
    host, port = host_and_port(wanted.server)
    otherwise = Security.CLEAR if is_loopback(host) else Security.STARTTLS
    return Mail(
        to=wanted.to,
        sender=wanted.sender,
        host=host,
        port=port,
        security=Security.TLS if port == WRAPPED else otherwise,
        zone=settings.timezone,
        user=wanted.user,
        password=partial(_password, wanted.secret or "", settings),
        sign=lambda head: signed(head, audit_key_of(settings)),
    )


def _password(name: str, settings: Settings) -> str | None:
    """Give the password of the mail server's login; None where it is not to be had."""
    try:
        fields = read_secret(name, secrets_dir=settings.secrets_dir, vault=vault_of(settings))
    except SecretError as error:
        log.error("secret_unreadable", secret=name, code=error.code)
        return None
    return fields.get("password")
