"""The documents know every directive, with its contexts and default, and a test in t/ uses each."""

import re

from nginx import ROOT

TABLE = (ROOT / "src" / "conf" / "commands.rs").read_text()
BLOCK = (ROOT / "src" / "conf" / "interpreters.rs").read_text()
DOCUMENT = (ROOT / "docs" / "directives.md").read_text()

CONTEXTS = {
    "M": {"http"},
    "M | S": {"http", "server"},
    "ANY": {"http", "server", "location"},
    "NGX_HTTP_LOC_CONF": {"location"},
    "ANY_AND_LIMIT": {"http", "server", "location", "limit_except"},
    "ANY_AND_IF": {"http", "server", "location", "if in location", "limit_except"},
}
# What the table's constructors say by themselves.
IMPLIED = {"switch": "M", "family": "ANY", "words": "ANY"}


def in_the_module():
    """Names and contexts of the table of directives."""
    start = TABLE.index("\ncommands![")
    table = TABLE[start : TABLE.index("\n];", start)]
    found = {}
    entry = r'(\w+)\(\s*c"(wsgi_\w+)",\s*(M \| S|M|ANY\w*|NGX_HTTP_\w+)?\b'
    for constructor, name, place in re.findall(entry, table):
        assert name not in found, name
        found[name] = CONTEXTS[place or IMPLIED[constructor]]
    for name in re.findall(r'^        "(wsgi_\w+)" =>', BLOCK, re.M):
        found[name] = found[name] | {"wsgi_interpreter_options"}
    assert len(found) == table.count('c"wsgi_'), "an entry that this test cannot read"
    return found


def contexts(text):
    return {context.strip() for context in text.split(",")}


def sections():
    """Each heading's text, with its level."""
    return re.findall(r"^(#{2,4}) ([^\n]*)\n(.*?)(?=^#{2,4} |\Z)", DOCUMENT, re.M | re.S)


def in_the_document():
    """Names and contexts of the document: of a directive's own section, of a table with a column for
    contexts, or of one whose section names the contexts of all."""
    found = {}

    def add(name, where):
        assert name not in found, f"{name} is there twice"
        found[name] = where

    for _, heading, text in sections():
        if heading.startswith("wsgi_"):
            where = re.search(r"^\| Context \| (.*) \|$", text, re.M)
            assert where and re.search(r"^\| Default \| .+ \|$", text, re.M), heading
            for name in re.findall(r"wsgi_\w+", heading):
                add(name, contexts(where.group(1)))
            continue
        common = re.search(r"same defaults and contexts \((.*?)\)", text)
        column = None
        for line in text.splitlines():
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            if cells and cells[0] == "directive":
                column = cells.index("context") if "context" in cells else None
                assert "default" in cells or "what applies" in cells, line
            elif cells and cells[0].startswith("`wsgi_"):
                name = re.match(r"`(wsgi_\w+)", cells[0]).group(1)
                assert column or common, f"no contexts for {name}"
                add(name, contexts(cells[column] if column else common.group(1)))
    return found


def test_the_document_has_every_directive_and_no_other():
    module, document = in_the_module(), in_the_document()
    assert set(module) == set(document)
    assert {name: where for name, where in document.items() if module[name] != where} == {}


def test_every_directive_is_used_by_a_test():
    tests = "".join(path.read_text() for path in (ROOT / "t").glob("*.t"))
    unused = {name for name in in_the_module() if not re.search(rf"\b{name}\b", tests)}
    assert unused == set()


def test_the_table_is_read_as_nginx_reads_it(nginx):
    """What the table says is what the module does: a directive is known, and a context refused."""
    for name, where in in_the_module().items():
        for context, place in ("http", "%s"), ("server", "server { %s }"), ("location", "server { location / { %s } }"):
            nginx.configure(http=place % f"{name};")
            answer = nginx.run("-t").stderr
            assert f'unknown directive "{name}"' not in answer
            assert (f'"{name}" directive is not allowed here' in answer) == (context not in where), (name, context)
