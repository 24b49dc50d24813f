"""Claims and whether they hold, printed as a table. The exit code of the demo is the table's."""


class Report:
    def __init__(self):
        self.rows = []

    def claim(self, text, holds, seen=''):
        """One claim; `seen` says what was seen, in few words."""
        self.rows.append((text, bool(holds), str(seen)))
        print(f'  {"ok  " if holds else "FAIL"} {text}{f": {seen}" if seen else ""}', flush=True)

    def print(self):
        width = max(len(text) for text, _, _ in self.rows)
        print(f'\n{"claim".ljust(width)}  holds  seen')
        print(f'{"-" * width}  -----  ----')
        for text, holds, seen in self.rows:
            print(f'{text.ljust(width)}  {"yes  " if holds else "NO   "}  {seen}')
        failed = sum(not holds for _, holds, _ in self.rows)
        print(f'\n{len(self.rows) - failed} passed, {failed} failed')
        return 1 if failed else 0
