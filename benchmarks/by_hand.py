"""Pages whose tables a program writes, and whose conclusions are written by hand below them."""

MARK = "<!-- What follows is written by hand, and kept when the tables are written anew. -->"


def with_conclusions(tables, path):
    """Return the text of a page: its new tables, and what the page of that name has from the mark on.

    Args:
        tables: the text above the mark.
        path: the page, which need not exist.
    """
    _, mark, conclusions = (path.read_text(encoding="utf-8") if path.exists() else "").partition(MARK)
    return f"{tables}\n{mark}{conclusions}" if mark else tables
