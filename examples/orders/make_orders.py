"""Makes orders.jsonl: 1,000 orders of 40 customers, the same ones every time."""

import json
import random

random.seed(20261124)
with open('orders.jsonl', 'w', encoding='utf-8') as file:
    for number in range(1, 1001):
        lines = [
            {'sku': f'sku-{random.randint(1, 300):03}', 'quantity': random.randint(1, 5), 'cents': random.randint(99, 19_999)}
            for _ in range(random.randint(1, 4))
        ]
        total = sum(line['quantity'] * line['cents'] for line in lines)
        order = {'id': f'{number:04}', 'customer': f'{random.randint(1, 40):02}', 'lines': lines, 'total_cents': total}
        file.write(json.dumps(order, separators=(',', ':')) + '\n')
