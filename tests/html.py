"""What a reader of a piece of HTML sees: its tables' cells, and its words."""

import xml.etree.ElementTree as ET


def parsed(html):
    """The elements of a fragment, which must be well-formed, hold no script and ask for nothing from elsewhere."""
    tree = ET.fromstring(html)
    for element in tree.iter():
        assert element.tag not in {"script", "link", "iframe", "img", "image", "use"}
        assert not [name for name in element.attrib if name.startswith(("on", "href", "src"))]
    assert "url(" not in html
    assert "@import" not in html
    return tree


def tables_of(html):
    """Each table as rows of the texts of its cells."""
    return [
        [["".join(cell.itertext()) for cell in row] for row in table.iter("tr")] for table in parsed(html).iter("table")
    ]


def words_of(html):
    """The words of its tables and of the lines below them, in order."""
    elements = [element for element in parsed(html).iter() if element.tag in ("th", "td", "p")]
    return " ".join("".join(element.itertext()) for element in elements).split()


def words_of_text(text):
    """The words of the text form, without its lines of dashes."""
    return " ".join(line for line in text.splitlines() if line.strip("-")).split()
