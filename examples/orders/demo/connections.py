"""Looks at the internal connections from outside: who listens, what certificate it shows, what it does without one of ours."""

import re
import subprocess


def listeners(pids):
    """{port: pid} of the TCP ports on which these processes listen."""
    table = subprocess.run(['ss', '-ltnpH'], capture_output=True, text=True, check=True).stdout
    found = {}
    for line in table.splitlines():
        address = line.split()[3]
        for pid in map(int, re.findall(r'pid=(\d+)', line)):
            if pid in pids:
                found[int(address.rsplit(':', 1)[1])] = pid
    return found


def opened(pids):
    """[(pid, peer address, peer port)] of the connections that these processes opened, whoever is at the other end."""
    table = subprocess.run(['ss', '-tnpH', 'state', 'established'], capture_output=True, text=True, check=True).stdout
    serving = listeners(pids)
    found = []
    for line in table.splitlines():
        own, peer = (address.rsplit(':', 1) for address in line.split()[2:4])
        for pid in map(int, re.findall(r'pid=(\d+)', line)):
            if pid in pids and int(own[1]) not in serving:
                found.append((pid, peer[0].strip('[]').removeprefix('::ffff:'), int(peer[1])))
    return found


def certificate(port):
    """(SPIFFE IDs in the certificate, TLS version) that a port shows to a stranger."""
    shown = subprocess.run(
        ['openssl', 's_client', '-connect', f'127.0.0.1:{port}', '-alpn', 'h2', '-showcerts'],
        input='', capture_output=True, text=True, timeout=10,
    ).stdout
    names = subprocess.run(
        ['openssl', 'x509', '-noout', '-ext', 'subjectAltName'], input=shown, capture_output=True, text=True, timeout=10,
    ).stdout
    version = re.search(r'(TLSv1\.\d)', shown)
    return re.findall(r'URI:(spiffe://\S+?)(?:,|\s|$)', names), version.group(1) if version else ''


def stranger_is_refused(port):
    """True when a TLS client without a certificate gets an alert and not one byte of HTTP."""
    # HTTP/2 preface: a listener that talks before it has authorized would answer with its SETTINGS.
    preface = b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0'
    done = subprocess.run(
        ['openssl', 's_client', '-connect', f'127.0.0.1:{port}', '-alpn', 'h2', '-quiet', '-ign_eof'],
        input=preface, capture_output=True, timeout=10,
    )
    return b'alert' in done.stderr and not done.stdout


def plaintext_is_refused(port):
    """True when plain HTTP gets no HTTP answer."""
    done = subprocess.run(
        ['curl', '-s', '-m', '5', '-o', '/dev/null', '-w', '%{http_code}', f'http://127.0.0.1:{port}/v1.0/metadata'],
        capture_output=True, text=True, timeout=10,
    )
    return done.stdout == '000'
