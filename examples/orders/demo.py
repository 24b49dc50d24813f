"""`./dev demo`: the orders application over everything, while parts of it are killed. Exit 0 only if every claim holds.

Needs PALLADIUM_BIN_DIR (the folder of the two executables), openssl, ss, curl and redis-server. Uses a folder and ports of its own.
"""

import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import requests
from demo import connections
from demo.installation import Failed, Installation, seconds_until, wait_until
from demo.report import Report

HERE = Path(__file__).parent
ORDERS = HERE / 'orders.jsonl'
PROJECT = 'shop'


def main():
    home = Path(tempfile.mkdtemp(prefix='palladium-demo-'))
    report = Report()
    palladium = Installation(os.environ['PALLADIUM_BIN_DIR'], home / 'data')
    redis, password = start_redis(home)
    try:
        run(palladium, report, redis, password)
    except (Failed, requests.RequestException, subprocess.SubprocessError) as failed:
        report.claim('the demo runs to its end', False, failed)
    finally:
        if palladium.process and palladium.process.poll() is None:
            seconds, code = palladium.stop()
            report.claim('Ctrl-C stops everything in order within 10 s', seconds < 10 and code == 0, f'{seconds:.1f} s, exit {code}')
            report.claim('nothing is left running', not palladium.processes(), len(palladium.processes()))
        redis.terminate()
        redis.wait(10)
    result = report.print()
    if result == 0:
        shutil.rmtree(home)
    else:
        print(f'logs are kept in {home}')
    return result


def run(palladium, report, redis, password):
    print('starting', flush=True)
    begun = time.monotonic()
    seconds = palladium.start()
    report.claim('ready in under 3 s', seconds < 3, f'{seconds:.1f} s')
    set_up(palladium, redis, password)
    shop = palladium.environment('orders', PROJECT)
    said = first_call(shop)
    seconds = time.monotonic() - begun
    report.claim("from `palladium up` to the first call of Dapr's SDK: under 60 s", said == 'it works' and seconds < 60, f'{said}, {seconds:.1f} s')
    url = f'{shop["DAPR_HTTP_ENDPOINT"].rstrip("/")}/v1.0/state'
    get = caller(shop['REQUESTS_CA_BUNDLE'])

    print('first half: everything alive', flush=True)
    book(shop, 0, 500, report, 'first half')
    check_tokens(palladium, report, get, url, shop)
    check_isolation(palladium, report, get, url)
    check_secret(palladium, report, password)
    check_connections(palladium, report, redis)

    print('second half: no control plane, and the Dapr Server is killed once', flush=True)
    with palladium.without('run control-plane') as kills:
        wait_until(lambda: kills, 10, 'the control plane was not found')
        servers = lambda: set(palladium.pids('palladium-dapr-server'))
        all_of_them, hurt = servers(), []
        own = f'/apps/{project_of(palladium)}/orders.json'
        book(shop, 500, 1000, report, 'second half', midway=lambda: hurt.append(palladium.kill('palladium-dapr-server', own)))
        replaced = len(all_of_them - servers())
        report.claim('its Dapr Server was killed at half of them, and a new one did the rest', hurt == [1] and replaced == 1, f'{hurt} killed')
        before = servers()
        killed = palladium.kill('palladium-dapr-server')
        wait_until(
            lambda: get(f'{url}/kvstore/receipt-0001', shop['DAPR_API_TOKEN']) == 200, 30, 'no Dapr Server came back without a control plane'
        )
        wait_until(lambda: len(servers()) == len(before), 30, 'not every Dapr Server came back without a control plane')
        fresh = killed == len(before) > 1 and not before & servers()
        report.claim('Dapr Servers restart from last-known-good, control plane dead', fresh, f'{killed} killed')
        check_orders(report, url, shop, 'control plane dead')
    seconds = seconds_until(lambda: palladium.cli('project', 'get', PROJECT, fails=True)[0] == 0, 30)
    report.claim('the control plane comes back unaided within 30 s', seconds is not None, 'no answer' if seconds is None else f'{seconds:.1f} s')

    print('stopping and starting again', flush=True)
    seconds, code = palladium.stop()
    report.claim('an ordered stop within 10 s', seconds < 10 and code == 0, f'{seconds:.1f} s, exit {code}')
    (palladium.folder.parent / 'up.log').unlink()
    palladium.start()
    wait_until(lambda: get(f'{url}/kvstore/receipt-0001', shop['DAPR_API_TOKEN']) == 200, 30, 'the old token or its data is gone')
    check_orders(report, url, shop, 'after a restart')


def set_up(palladium, redis, password):
    for project in (PROJECT, 'elsewhere'):
        palladium.cli('project', 'create', project, '--deploy-managed-kv', '--wait')
    palladium.cli(
        'component', 'create', 'ledger', '--project', PROJECT, '--type', 'state.redis', '--scopes', 'orders',
        '--metadata', f'redisHost=127.0.0.1:{redis.port}', '--metadata', 'redisPassword=-', stdin=password,
    )
    for app_id in ('orders', 'intruder'):
        palladium.cli('appid', 'create', app_id, '--project', PROJECT, '--wait')
    palladium.cli('appid', 'create', 'orders', '--project', 'elsewhere', '--wait')
    wait_until(
        lambda: palladium.cli('component', 'get', 'ledger', '--project', PROJECT, '-o', 'json')['status']['status'] == 'ready',
        30, 'the component with a password does not become ready',
    )


def first_call(environment):
    """What an application reads back that knows nothing but Dapr's own package and these variables."""
    program = (
        'from dapr.clients import DaprClient\n'
        'with DaprClient() as client:\n'
        "    client.save_state('kvstore', 'first', 'it works')\n"
        "    print(client.get_state('kvstore', 'first').data.decode())\n"
    )
    done = subprocess.run([sys.executable, '-c', program], env=os.environ | environment, capture_output=True, text=True, timeout=60)
    return (done.stdout or done.stderr).strip()[-200:]


def project_of(palladium):
    """The id of the project, as the command line of its second Dapr Server tells it; the name of the first is in two projects."""
    found = {m.group(1) for line in palladium.processes().values() if (m := re.search(r'/apps/(prj-\w+)/intruder\.json', line))}
    if len(found) != 1:
        raise Failed(f'the project is not to be told from the processes: {found}')
    return found.pop()


def book(environment, first, last, report, when, midway=None):
    """Runs the application on a part of the orders; `midway` is called once half of them are booked."""
    with tempfile.TemporaryFile('w+') as errors:
        done = subprocess.Popen(
            [sys.executable, HERE / 'app.py', ORDERS, str(first), str(last), 'kvstore'],
            env=os.environ | environment | {'DAPR_API_MAX_RETRIES': '6', 'DAPR_API_TIMEOUT_SECONDS': '20'},
            stdout=subprocess.PIPE, stderr=errors, text=True,
        )
        deadline = threading.Timer(300, done.kill)
        deadline.start()
        lines = []
        for line in done.stdout:
            if line.startswith('{'):
                lines.append(json.loads(line))
            if midway and len(lines) == (last - first) // 2:
                midway()
                midway = None
        done.wait()
        deadline.cancel()
        errors.seek(0)
        said = errors.read()
    failed = [line for line in lines if 'failed' in line and 'order' in line]
    booked = [line for line in lines if 'order' in line and 'failed' not in line]
    for line in failed[:5]:
        print(f'    {line}')
    if not lines:
        raise Failed(f'the application ended with {done.returncode}: {said[-2000:]}')
    conflicts = sum(line['conflicts'] for line in booked)
    report.claim(f'{when}: no order fails', done.returncode == 0 and len(booked) == last - first, f'{len(booked)} booked, {conflicts} conflicts met')


def check_orders(report, url, environment, when):
    """Every order once, with its total, and every customer's account right."""
    orders = [json.loads(line) for line in ORDERS.read_text().splitlines()]
    session = trusting(environment['REQUESTS_CA_BUNDLE'])
    session.headers['dapr-api-token'] = environment['DAPR_API_TOKEN']
    customers = sorted({order['customer'] for order in orders})
    keys = [f'receipt-{order["id"]}' for order in orders] + [f'customer-{customer}' for customer in customers]
    found = {}
    for start in range(0, len(keys), 200):
        answer = session.post(f'{url}/kvstore/bulk', json={'keys': keys[start : start + 200], 'parallelism': 8}, timeout=30)
        answer.raise_for_status()
        found |= {item['key']: item.get('data') for item in answer.json()}
    lost = [order['id'] for order in orders if (found.get(f'receipt-{order["id"]}') or {}).get('total_cents') != order['total_cents']]
    wrong = []
    for customer in customers:
        theirs = [order for order in orders if order['customer'] == customer]
        account = found.get(f'customer-{customer}') or {}
        if sorted(account.get('orders', [])) != [order['id'] for order in theirs] or account.get('total_cents') != sum(
            order['total_cents'] for order in theirs
        ):
            wrong.append(customer)
    seen = f'{len(orders) - len(lost)} receipts, {len(customers) - len(wrong)} accounts right'
    report.claim(f'all 1,000 orders booked exactly once, {when}', not lost and not wrong, seen)


def check_tokens(palladium, report, get, url, shop):
    key = f'{url}/kvstore/receipt-0001'
    token = shop['DAPR_API_TOKEN']
    seen = get(key, token)
    report.claim('a right token is let in', seen == 200, seen)
    report.claim('no token: 401', get(key, None) == 401, get(key, None))
    wrong = token[:-1] + ('a' if token[-1] != 'a' else 'b')
    report.claim('a wrong token: 401', get(key, wrong) == 401, get(key, wrong))
    theirs = palladium.environment('intruder', PROJECT)['DAPR_API_TOKEN']
    report.claim('another right token is let in, before it is revoked', get(key, theirs) == 204, get(key, theirs))
    palladium.cli('appid', 'token', 'revoke', 'intruder', '--project', PROJECT, '--wait')
    seconds = seconds_until(lambda: get(key, theirs) == 401, 5)
    report.claim('a revoked token: 401, within 5 s', seconds is not None, get(key, theirs) if seconds is None else f'{seconds:.1f} s')


def check_isolation(palladium, report, get, url):
    intruder = palladium.environment('intruder', PROJECT)['DAPR_API_TOKEN']
    same_name = palladium.environment('orders', 'elsewhere')['DAPR_API_TOKEN']
    seen = get(f'{url}/kvstore/receipt-0001', intruder)
    report.claim("another App ID's token does not see the key", seen == 204, seen)
    seen = get(f'{url}/kvstore/orders%7C%7Creceipt-0001', intruder)
    report.claim('nor by asking for the whole stored key', seen == 400, seen)
    seen = get(f'{url}/kvstore/receipt-0001', same_name)
    report.claim("nor does the same App ID of another project", seen == 204, seen)
    seen = get(f'{url}/ledger/x', intruder)
    report.claim('a component out of scope is refused', seen == 400, seen)


def check_secret(palladium, report, password):
    found = palladium.files_with(b'ledger', 'control-plane')
    report.claim("the search finds what is no secret: the component's name", found, f'{len(found)} files')
    found = palladium.files_with(password.encode(), 'control-plane')
    report.claim("the component's password is in no file of the control plane", not found, ', '.join(found))
    found = palladium.files_with(password.encode(), '.')
    report.claim('nor in any other file or log', not found, ', '.join(found))
    shown = palladium.cli('component', 'get', 'ledger', '--project', PROJECT, '-o', 'json')
    report.claim('nor in what the API shows', password not in json.dumps(shown))


def check_connections(palladium, report, redis):
    pids = palladium.processes()
    serving = connections.listeners(pids)
    public = set(palladium.ports[:3])
    internal = {port: pids[pid] for port, pid in serving.items() if port not in public}
    edges = {port: line for port, line in internal.items() if ' run sentry' in line}
    wrong, domains = [], set()
    for port, line in sorted(internal.items()):
        ids, version = connections.certificate(port)
        expected = expected_id(line)
        if len(ids) != 1 or not re.fullmatch(expected, ids[0]) or version != 'TLSv1.3':
            wrong.append(f'{port} {ids} {version}, expected {expected}')
        domains.update(re.match(r'spiffe://([^/]+)', found).group(1) for found in ids)
        if not connections.plaintext_is_refused(port):
            wrong.append(f'{port} speaks plain HTTP')
        if port not in edges and not connections.stranger_is_refused(port):
            wrong.append(f'{port} talks to a client without certificate')
    report.claim('every internal listener shows its SPIFFE ID over TLS 1.3 and refuses strangers', internal and not wrong, '; '.join(wrong) or f'{len(internal)} ports')
    report.claim('they are of two trust domains, the control plane\'s and the region\'s', len(domains) == 2, ', '.join(sorted(domains)))
    talk = [f'{port} speaks plain HTTP' for port in sorted(public) if not connections.plaintext_is_refused(port)]
    report.claim('nor do the public listeners speak plain HTTP', public <= set(serving) and not talk, '; '.join(talk) or f'{len(public)} ports')
    # Whoever waits for something holds connections; Redis is the one that a component named.
    links = connections.opened(pids)
    known = set(internal) | public
    unknown = [
        f'{pids[pid]} to {address}:{port}' for pid, address, port in links
        if address != '127.0.0.1' or not (port in known or port == redis.port and 'palladium-dapr-server' in pids[pid])
    ]
    seen = '; '.join(unknown) or f'{len(links)} connections'
    report.claim('every connection that our processes opened ends at one of these, or at Redis', links and not unknown, seen)


def expected_id(line):
    """A pattern for the SPIFFE ID that belongs to a command line."""
    if application := re.search(r'/region/apps/(prj-\w+)/(\w+)\.json', line):
        return r'spiffe://reg-\w+\.palladium\.internal/ns/{}/{}'.format(*application.groups())
    zone = 'org' if '/control-plane/' in line else 'reg'
    role = line.split(' run ', 1)[1].split()[0]
    return rf'spiffe://{zone}-\w+\.palladium\.internal/ns/palladium/{"dapr-sentry" if role == "sentry" else role}'


def caller(ca_file):
    """A function that answers with the status of a GET."""
    session = trusting(ca_file)

    def get(url, token):
        headers = {'dapr-api-token': token} if token else {}
        try:
            return session.get(url, headers=headers, timeout=15).status_code
        except requests.ConnectionError:
            return 0

    return get


def trusting(ca_file):
    """A session that trusts this file alone, whatever the demo's own environment says."""
    session = requests.Session()
    session.trust_env = False
    session.verify = ca_file
    return session


def start_redis(home):
    """A Redis with a random password that exists nowhere else."""
    password = secrets.token_urlsafe(24)
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(['redis-server', '-'], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    process.stdin.write(f'port {port}\nbind 127.0.0.1\nsave ""\ndir {home}\nrequirepass {password}\n'.encode())
    process.stdin.close()
    process.port = port
    return process, password


if __name__ == '__main__':
    sys.exit(main())
