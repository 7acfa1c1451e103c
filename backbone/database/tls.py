"""Owns what the TLS words of a database URL mean: sslmode, sslrootcert, sslcert, sslkey, as libpq has them.

It must not connect.
"""

import ssl

import sqlalchemy as sa

from backbone.database.errors import DatabaseMisconfigured

MODES = ("disable", "prefer", "require", "verify-ca", "verify-full")
WORDS = ("sslmode", "sslrootcert", "sslcert", "sslkey")


def take_tls(url: sa.URL) -> tuple[sa.URL, ssl.SSLContext | bool | None]:
    """The URL without its TLS words, and what the driver takes as `ssl`; None: whatever the driver does by itself.

    `require` encrypts and trusts anybody, unless sslrootcert names an authority. Raises DatabaseMisconfigured.
    """
    found = {word: url.query[word] for word in WORDS if word in url.query}
    words = {word: value if isinstance(value, str) else value[-1] for word, value in found.items()}
    rest = url.difference_update_query(WORDS)
    mode = words.get("sslmode", "verify-full" if "sslrootcert" in words else "prefer")
    if mode not in MODES:
        raise DatabaseMisconfigured(f"sslmode={mode} in the database URL: it is one of {', '.join(MODES)}")
    if mode == "disable":
        return rest, False
    if mode == "prefer" and len(words.keys() - {"sslmode"}) == 0:
        return rest, None
    try:
        return rest, _context(mode, words)
    except OSError as error:
        raise DatabaseMisconfigured(
            f"the TLS files in the database URL cannot be used: check sslrootcert, sslcert and sslkey ({error})"
        ) from error


def _context(mode: str, words: dict[str, str]) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=words.get("sslrootcert"))
    if mode != "verify-full":
        context.check_hostname = False
    if mode in ("prefer", "require") and "sslrootcert" not in words:
        context.verify_mode = ssl.CERT_NONE
    if "sslcert" in words:
        context.load_cert_chain(words["sslcert"], words.get("sslkey"))
    return context


def is_untrusted(error: BaseException | None) -> bool:
    """Whether a certificate that does not verify is behind the error."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        error = error.__cause__ or error.__context__
    return False
