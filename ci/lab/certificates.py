"""A certificate authority made at run time with the openssl command; nothing of it outlives the run."""

import os
import subprocess


class Authority:
    def __init__(self, directory, name="ca"):
        self.directory = directory
        self.certificate = os.path.join(directory, f"{name}.pem")
        self._key = os.path.join(directory, f"{name}.key")
        _openssl(
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
            "-keyout", self._key, "-out", self.certificate, "-subj", f"/CN=dotward test authority {name}",
            "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign",
        )

    def issue(self, file_name, alternative_names, rsa_bits=None):
        """A server certificate for names like "DNS:dot.test" or "IP:127.0.0.1". Returns (certificate file, key file).

        The key is on P-256, or RSA with `rsa_bits` bits.
        """
        base = os.path.join(self.directory, file_name)
        with open(base + ".ext", "w") as file:
            file.write(
                f"subjectAltName={','.join(alternative_names)}\n"
                "extendedKeyUsage=serverAuth\nbasicConstraints=CA:FALSE\n"
                "authorityKeyIdentifier=keyid\nsubjectKeyIdentifier=hash\n"
            )
        kind = ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"] if rsa_bits is None else [f"rsa:{rsa_bits}"]
        _openssl(
            "req", "-newkey", *kind, "-nodes",
            "-keyout", base + ".key", "-out", base + ".csr", "-subj", f"/CN={file_name}",
        )
        _openssl(
            "x509", "-req", "-in", base + ".csr", "-CA", self.certificate, "-CAkey", self._key, "-CAcreateserial",
            "-days", "2", "-extfile", base + ".ext", "-out", base + ".pem",
        )
        return base + ".pem", base + ".key"


def pin(certificate):
    """The SHA-256 pin of the certificate's public key, in base64."""
    public_key = _openssl("x509", "-in", certificate, "-noout", "-pubkey")
    der = subprocess.run(
        ["openssl", "pkey", "-pubin", "-outform", "der"], input=public_key, capture_output=True, check=True
    ).stdout
    digest = subprocess.run(
        ["openssl", "dgst", "-sha256", "-binary"], input=der, capture_output=True, check=True
    ).stdout
    return subprocess.run(["openssl", "base64", "-A"], input=digest, capture_output=True, check=True).stdout.decode()


def _openssl(*arguments):
    result = subprocess.run(["openssl", *arguments], capture_output=True)
    if result.returncode != 0:
        raise RuntimeError(f"openssl {' '.join(arguments)}: {result.stderr.decode()}")
    return result.stdout
