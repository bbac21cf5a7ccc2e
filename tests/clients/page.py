"""Prints a piece of code of the documentation page as a reader would copy it, or the names of all pieces.

Usage: page.py PAGE [ID]
"""

import html.parser
import sys


class Code(html.parser.HTMLParser):
    """Collects the text of every `<code id=…>` inside of a `<pre>`."""

    def __init__(self):
        super().__init__()
        self.pieces = {}
        self.inside = None
        self.preformatted = False

    def handle_starttag(self, tag, attributes):
        if tag == "pre":
            self.preformatted = True
        elif tag == "code" and self.preformatted:
            self.inside = dict(attributes).get("id", "a piece without an id")
            self.pieces[self.inside] = ""

    def handle_endtag(self, tag):
        if tag == "pre":
            self.preformatted = False
        elif tag == "code":
            self.inside = None

    def handle_data(self, data):
        if self.inside:
            self.pieces[self.inside] += data


def main():
    page, *name = sys.argv[1:]
    code = Code()
    with open(page, encoding="utf-8") as file:
        code.feed(file.read())
    if not name:
        print(*sorted(code.pieces), sep="\n")
    elif name[0] in code.pieces:
        print(code.pieces[name[0]])
    else:
        sys.exit(f"page.py: {page} has no code named {name[0]}")


if __name__ == "__main__":
    main()
