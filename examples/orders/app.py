"""Books orders in Dapr state: the application of this example.

Everything here is the ordinary `dapr` package and `requests`; where the Dapr Server is and who calls comes from the environment
(`DAPR_GRPC_ENDPOINT`, `DAPR_HTTP_ENDPOINT`, `DAPR_API_TOKEN`: see `palladium env`). An order may arrive twice and a call may fail after
it was carried out, so each booking is written such that doing it again changes nothing.

Usage: app.py ORDERS_FILE FIRST LAST STORE
Prints one JSON line per order (booked by which API, how often a conflict was met), then a summary.
"""

import contextlib
import json
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
import requests
from dapr.clients import DaprClient
from dapr.clients.grpc._request import TransactionalStateOperation, TransactionOperationType
from dapr.clients.grpc._state import Concurrency, Consistency, StateItem, StateOptions
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

WORKERS = 8
FIRST_WRITE = StateOptions(consistency=Consistency.strong, concurrency=Concurrency.first_write)


class Conflict(Exception):
    """Somebody else wrote the key since it was read."""


class GrpcState:
    """State through the SDK, over gRPC."""

    name = 'grpc'

    def __init__(self, store):
        self.store = store
        self.client = DaprClient()

    def get(self, key):
        answer = self.client.get_state(self.store, key)
        return (json.loads(answer.data) if answer.data else None), answer.etag or None

    def save(self, key, value, etag, ttl=None):
        metadata = {'ttlInSeconds': str(ttl)} if ttl else {}
        with conflicts():
            self.client.save_state(self.store, key, json.dumps(value), etag=etag, options=FIRST_WRITE, state_metadata=metadata)

    def save_all(self, items):
        self.client.save_bulk_state(self.store, [StateItem(key=key, value=json.dumps(value)) for key, value in items.items()])

    def get_all(self, keys):
        found = self.client.get_bulk_state(self.store, keys, parallelism=4).items
        return {item.key: json.loads(item.data) for item in found if item.data}

    def transact(self, upserts, deletes, etags):
        operations = [
            TransactionalStateOperation(key=key, data=json.dumps(value), etag=etags.get(key))
            for key, value in upserts.items()
        ]
        operations += [TransactionalStateOperation(key=key, data='', operation_type=TransactionOperationType.delete) for key in deletes]
        with conflicts():
            self.client.execute_state_transaction(self.store, operations)

    def delete(self, key):
        self.client.delete_state(self.store, key)


class HttpState:
    """The same over HTTP, with nothing but `requests`."""

    name = 'http'

    def __init__(self, store):
        self.url = f'{os.environ["DAPR_HTTP_ENDPOINT"].rstrip("/")}/v1.0/state/{store}'
        self.session = requests.Session()
        self.session.headers['dapr-api-token'] = os.environ['DAPR_API_TOKEN']
        # Booking twice changes nothing, so every method may be repeated.
        retry = Retry(total=8, backoff_factor=0.2, status_forcelist=[502, 503, 504], allowed_methods=None)
        self.session.mount('https://', HTTPAdapter(max_retries=retry, pool_maxsize=WORKERS))

    def _call(self, method, path='', **arguments):
        answer = self.session.request(method, self.url + path, timeout=30, **arguments)
        # Dapr answers 409 to a single write, but 500 to a transaction, when an ETag does not match.
        if answer.status_code == 409 or (answer.status_code == 500 and 'etag mismatch' in answer.text):
            raise Conflict(path)
        answer.raise_for_status()
        return answer

    def get(self, key):
        answer = self._call('GET', f'/{key}')
        return (answer.json() if answer.status_code == 200 else None), answer.headers.get('etag')

    def save(self, key, value, etag, ttl=None):
        item = {'key': key, 'value': value, 'options': {'concurrency': 'first-write', 'consistency': 'strong'}}
        if etag:
            item['etag'] = etag
        if ttl:
            item['metadata'] = {'ttlInSeconds': str(ttl)}
        self._call('POST', json=[item])

    def save_all(self, items):
        self._call('POST', json=[{'key': key, 'value': value} for key, value in items.items()])

    def get_all(self, keys):
        answer = self._call('POST', '/bulk', json={'keys': keys, 'parallelism': 4})
        return {item['key']: item['data'] for item in answer.json() if item.get('data') is not None}

    def transact(self, upserts, deletes, etags):
        operations = []
        for key, value in upserts.items():
            request = {'key': key, 'value': value}
            if etags.get(key):
                request |= {'etag': etags[key], 'options': {'concurrency': 'first-write'}}
            operations.append({'operation': 'upsert', 'request': request})
        operations += [{'operation': 'delete', 'request': {'key': key}} for key in deletes]
        self._call('POST', '/transaction', json={'operations': operations})

    def delete(self, key):
        self._call('DELETE', f'/{key}')


@contextlib.contextmanager
def conflicts():
    """Turns the SDK's way of saying `etag mismatch` into Conflict."""
    try:
        yield
    except grpc.RpcError as error:
        in_transaction = error.code() == grpc.StatusCode.INTERNAL and 'etag mismatch' in error.details()
        if error.code() == grpc.StatusCode.ABORTED or in_transaction:
            raise Conflict from error
        raise


def book(state, order):
    """Books one order once, however often it is called. Returns how many conflicts were met."""
    met = 0
    number, customer = order['id'], f'customer-{order["customer"]}'
    note = f'working-{number}'
    try:
        state.save(note, {'by': state.name}, None, ttl=3600)
    except Conflict:
        met += 1  # only this order writes this key: it is our own note, whose answer was lost on the way
    while True:
        account, etag = state.get(customer)
        account = account or {'orders': [], 'total_cents': 0}
        if number in account['orders']:
            # Our own write, whose answer was lost on the way: done.
            state.delete(note)
            return met
        account['orders'].append(number)
        account['total_cents'] += order['total_cents']
        try:
            if etag is None:
                # A first write cannot carry an ETag in a transaction: claim the key alone, then read it again.
                state.save(customer, {'orders': [], 'total_cents': 0}, None)
                continue
            receipt = {'order': number, 'total_cents': order['total_cents'], 'by': state.name}
            state.transact({customer: account, f'receipt-{number}': receipt}, [note], {customer: etag})
            return met
        except Conflict:
            met += 1


def main(orders_file, first, last, store):
    with open(orders_file, encoding='utf-8') as file:
        orders = [json.loads(line) for line in file][int(first) : int(last)]
    states = [GrpcState(store), HttpState(store)]
    out, lock, failed = sys.stdout, threading.Lock(), []

    def work(numbered):
        index, order = numbered
        state = states[index % len(states)]
        try:
            line = {'order': order['id'], 'by': state.name, 'conflicts': book(state, order)}
        except Exception as error:  # an order that fails is the one thing that must not happen: say it, and go on
            line = {'order': order['id'], 'by': state.name, 'failed': repr(error)}
            failed.append(order['id'])
        with lock:
            print(json.dumps(line), file=out, flush=True)

    # The SDK reports its retries on standard output, which is ours.
    with contextlib.redirect_stdout(sys.stderr), ThreadPoolExecutor(WORKERS) as pool:
        for start in range(0, len(orders), 100):
            batch = orders[start : start + 100]
            intake = {f'order-{order["id"]}': order for order in batch}
            state = states[(start // 100) % len(states)]
            state.save_all(intake)
            received = state.get_all(list(intake))
            if received != intake:
                failed.extend(order['id'] for order in batch)
            list(pool.map(work, enumerate(batch, start)))
    print(json.dumps({'orders': len(orders), 'failed': len(failed)}))
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main(*sys.argv[1:]))
