"""Certificates for tests, made by OpenSSL's tool at the time of the test."""

import shutil
import subprocess

OPENSSL = shutil.which("openssl")
assert OPENSSL, "the tests need the openssl command"
# Names of a server on this machine.
LOCAL = ["DNS:localhost", "IP:127.0.0.1"]


def openssl(*arguments, **options):
    return subprocess.run(
        [OPENSSL, *map(str, arguments)], capture_output=True, check=True, **options
    ).stdout


class Authority:
    """A certificate authority in a folder, and what it signs."""

    def __init__(self, folder, name="authority"):
        self.folder, self.name = folder, name
        self.cert, self.key = folder / f"{name}.pem", folder / f"{name}.key"
        self.new_key(self.key)
        openssl(
            "req", "-x509", "-new", "-key", self.key, "-out", self.cert, "-days", 100,
            "-subj", f"/CN={name}", "-addext", "keyUsage=critical,keyCertSign,cRLSign",
        )  # fmt: skip

    @staticmethod
    def new_key(path, kind="P-256"):
        if kind.startswith("RSA"):
            openssl("genrsa", "-out", path, kind[3:])
        else:
            openssl("genpkey", "-algorithm", "EC", "-pkeyopt", f"ec_paramgen_curve:{kind}",
                    "-out", path)  # fmt: skip
        path.chmod(0o600)

    def sign(self, file, names, kind="P-256", days=100, usage="serverAuth", subject=None):
        """Gives the paths of the chain and of the key."""
        cert, key = self.folder / f"{file}.pem", self.folder / f"{file}.key"
        request, fields = self.folder / f"{file}.csr", self.folder / f"{file}.ext"
        self.new_key(key, kind)
        fields.write_text(
            f"subjectAltName={','.join(names)}\nextendedKeyUsage={usage}\n"
            "basicConstraints=critical,CA:FALSE\n"
        )
        openssl("req", "-new", "-key", key, "-out", request, "-subj",
                subject or f"/CN={names[0].split(':', 1)[1]}")  # fmt: skip
        dates = ["-days", days]
        openssl("x509", "-req", "-in", request, "-CA", self.cert, "-CAkey", self.key,
                "-CAcreateserial", "-out", cert, "-extfile", fields, *dates)  # fmt: skip
        return cert, key

    def expired(self, file, names, **options):
        """`x509 -req` takes no dates in the past; `-days` may be negative."""
        return self.sign(file, names, days=-1, **options)
