"""What an application does with Dapr's Python SDK: one line per step. See ../README.md.

Its server part is the SDK's own (gRPC), so this application is spoken to in gRPC, whatever its callers speak.
"""

import json
import os
import queue
import sys
import threading
import time
import warnings

import grpc
from dapr.clients import DaprClient
from dapr.clients.grpc._request import TransactionalStateOperation, TransactionOperationType
from dapr.clients.grpc._response import TopicEventResponse
from dapr.clients.grpc._state import Concurrency, StateOptions
from dapr.ext.grpc import App, InvokeMethodResponse, SubscriptionMessage

PATIENCE = 30
STORE, BUS = os.environ['STORE'], os.environ['BUS']
FIRST_WRITE = StateOptions(concurrency=Concurrency.first_write)


def say(*words):
    sys.__stdout__.write(' '.join(words) + '\n')
    sys.__stdout__.flush()


def check(holds, what):
    if not holds:
        raise AssertionError(what)


def until(ask):
    end = time.monotonic() + PATIENCE
    while True:
        try:
            return ask()
        except Exception:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


def serve(events):
    app = App()

    @app.method('hello')
    def hello(request):
        return InvokeMethodResponse(json.dumps({'by': 'python', 'heard': json.loads(request.data)}), 'application/json')

    @app.subscribe(BUS, 'python-served')
    def served(event: SubscriptionMessage):
        events.put(event.data())

    thread = threading.Thread(target=app.run, args=(int(os.environ['APP_PORT']), '127.0.0.1'), daemon=True)
    thread.start()
    return app


def state(client):
    client.save_state(STORE, 'python-a', json.dumps({'step': 1}))
    found = client.get_state(STORE, 'python-a')
    check(found.json() == {'step': 1} and found.etag, found.data)
    say('state')

    def write(step):
        client.save_state(STORE, 'python-a', json.dumps({'step': step}), etag=found.etag, options=FIRST_WRITE)

    write(2)
    try:
        write(3)
        raise AssertionError('no conflict')
    except grpc.RpcError as error:
        check(error.code() == grpc.StatusCode.ABORTED, error)
    say('conflict')
    client.execute_state_transaction(STORE, [
        TransactionalStateOperation(key='python-b', data='"transacted"'),
        TransactionalStateOperation(key='python-a', data='', operation_type=TransactionOperationType.delete),
    ])
    items = {item.key: item.data for item in client.get_bulk_state(STORE, ['python-a', 'python-b']).items}
    check(items == {'python-a': b'', 'python-b': b'"transacted"'}, items)
    say('transaction')
    client.delete_state(STORE, 'python-b')
    check(client.get_state(STORE, 'python-b').data == b'', 'still there')
    say('delete')


def publish(client, topic, events):
    def once():
        client.publish_event(BUS, topic, json.dumps({'by': topic}), data_content_type='application/json')
        got = events.get(timeout=1)
        check(got == {'by': topic}, got)

    until(once)


def invoke(client):
    for peer in os.environ['PEERS'].split(','):
        # The SDK says `http` by default: DAPR_API_METHOD_INVOCATION_PROTOCOL.
        data = json.dumps({'from': 'python'})
        answer = until(lambda: client.invoke_method(peer, 'hello', data, 'application/json', http_verb='POST'))
        said = json.loads(answer.data)
        check(said['heard'] == {'from': 'python'}, said)
        say('invoke', said['by'])


def main():
    served, streamed = queue.Queue(), queue.Queue()
    app = serve(served)
    # Waits for the health endpoint first.
    with DaprClient() as client:
        say('healthy')
        known = client.get_metadata()
        check(known.application_id == os.environ['DAPR_APP_ID'], known.application_id)
        say('metadata')
        state(client)
        if secrets := os.environ.get('SECRETS'):
            found = client.get_secret(secrets, 'SDKS_SECRET').secret
            check(found == {'SDKS_SECRET': 'kept'}, found)
            say('secret')
        invoke(client)
        publish(client, 'python-served', served)
        say('event served')

        def handle(event):
            streamed.put(event.data())
            return TopicEventResponse('success')

        stop = client.subscribe_with_handler(BUS, 'python-streamed', handle)
        publish(client, 'python-streamed', streamed)
        say('event streamed')
        stop()
        say('done')
        # Others may still call.
        sys.stdin.read()
    app.stop()


if __name__ == '__main__':
    # The SDK reports on standard output, which is ours.
    sys.stdout = sys.stderr
    warnings.simplefilter('ignore', DeprecationWarning)
    main()
