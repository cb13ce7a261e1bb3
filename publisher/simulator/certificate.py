"""A self-signed certificate, for clients that speak TLS to the platforms' fixed hosts."""

import shutil
import subprocess
from ipaddress import ip_address
from pathlib import Path

CERTIFICATE_FILE, KEY_FILE = "simulator.crt", "simulator.key"
PLATFORM_HOSTS = (
    "localhost",
    "api.weibo.com",
    "c.api.weibo.com",
    "upload.api.weibo.com",
    "api.weixin.qq.com",
    "tieba.baidu.com",
    "tiebac.baidu.com",
)
LOOPBACK_ADDRESSES = ("127.0.0.1", "::1")
VALIDITY_DAYS = "30"
OPENSSL_TIMEOUT_SECONDS = 30


class CertificateError(Exception):
    """The certificate cannot be created; `reason` is `missing` without the openssl program, else `failed`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def make_certificate(folder: Path, host: str) -> tuple[Path, Path]:
    """Create a self-signed certificate and its key by the openssl program; only the owner can read the key.

    Raises CertificateError.
    """
    program = shutil.which("openssl")
    if program is None:
        raise CertificateError("missing")
    chain, key = folder / CERTIFICATE_FILE, folder / KEY_FILE
    key.unlink(missing_ok=True)
    key.touch(mode=0o600)
    names = [f"DNS:{name}" for name in PLATFORM_HOSTS] + [f"IP:{address}" for address in LOOPBACK_ADDRESSES]
    if host not in (*PLATFORM_HOSTS, *LOOPBACK_ADDRESSES):
        try:
            ip_address(host)
        except ValueError:
            names.append(f"DNS:{host}")
        else:
            names.append(f"IP:{host}")
    kind = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", VALIDITY_DAYS)
    subject = ("-subj", "/CN=publisher simulator", "-addext", "subjectAltName=" + ",".join(names))
    try:
        subprocess.run(  # noqa: S603 # a fixed program, and no argument from outside but the host name
            [program, "req", "-x509", *kind, *subject, "-keyout", str(key), "-out", str(chain)],
            check=True,
            capture_output=True,
            timeout=OPENSSL_TIMEOUT_SECONDS,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise CertificateError("failed") from error
    return chain, key
