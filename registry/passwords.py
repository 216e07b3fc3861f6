"""Keeps the password of a database's URL out of all that is shown.

A URL in which password and rest cannot be told apart for sure is refused before any driver sees it, since the driver
would take a part of the password for a host or a parameter and quote it in its error.
"""

import re
from collections.abc import Sequence
from urllib.parse import unquote

from cl_ast.errors import RegistryError

_SECRET = frozenset({"password", "sslpassword"})
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_HOSTS = re.compile(r"(\[[0-9A-Fa-f:.%]*\]|[^\[\]:,#\s]*)(:[0-9]*)?(,(\[[0-9A-Fa-f:.%]*\]|[^\[\]:,#\s]*)(:[0-9]*)?)*")


def separated(url: str) -> tuple[str, Sequence[str]]:
    """Return a PostgreSQL URL without its password and parameters, and everything in it that must not be shown.

    Raises:
        RegistryError: they cannot be separated. The message shows nothing of the URL.
    """
    authority, _, query = url.partition("://")[2].partition("?")
    authority, slash, database = authority.partition("/")
    user, at, hosts = authority.rpartition("@")
    pairs = [item.partition("=") for item in query.split("&") if item]
    if (
        "@" in user + database
        or _BAD_ESCAPE.search(url)
        or not _HOSTS.fullmatch(hosts)
        or any(not equals or "@" in key for key, equals, _ in pairs)
    ):
        raise unclear()
    name, _, password = user.partition(":")
    written = [password, *(value for key, _, value in pairs if unquote(key) in _SECRET)]
    secrets = {form for one in written for form in (one, unquote(one)) if form}
    return f"postgresql://{name}{at}{hosts}{slash}{database}", sorted(secrets, key=len, reverse=True)


def unclear() -> RegistryError:
    """Return the error for a URL that cannot be read; it shows nothing of the URL."""
    return RegistryError(
        "the URL of the database cannot be read: a password in it is written with %2F for /, %40 for @, %3F for ?, "
        "%23 for #, %26 for & and %25 for %, and every parameter as name=value"
    )


def masked(text: str, secrets: Sequence[str]) -> str:
    """Return a text in which `***` stands for each secret."""
    for secret in secrets:
        text = text.replace(secret, "***")
    return text
