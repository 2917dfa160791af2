"""How the book writes: numbers with their spread, tables with their data and runs beneath, guarded sentences.

Numbers stay numbers until they are shown. One notation: `84.3 [83.9–84.8]` is a mean over seeds with the lowest and the
highest, `84.3 (83.1–85.5)` the number of a single network with its 95 % interval over the images.
"""

import base64
from html import escape

import numpy as np
import pandas as pd
from IPython.display import HTML, Markdown

from thesis_utils.book import numbers
from thesis_utils.runs import command, every

NONE = "–"
MISSING = "not recorded yet"
RANGE, TO = "\N{WORD JOINER}–\N{WORD JOINER}", "\N{NO-BREAK SPACE}to\N{NO-BREAK SPACE}"


def spread(mean, low=np.nan, high=np.nan, seeds=1, sign="", digits=1):
    """A number and its spread as text, in the notation above; with `sign` "+" it is a difference."""
    if pd.isna(mean):
        return NONE
    text = f"{mean:{sign}.{digits}f}"
    if pd.isna(low):
        return text
    inside = f"{low:{sign}.{digits}f}{TO if sign else RANGE}{high:{sign}.{digits}f}"
    return f"{text}\n[{inside}]" if seeds > 1 else f"{text}\n({inside})"


def spreads(table, sign="", digits=1):
    """`spread` of each row of a frame with the columns of `numbers.over_seeds`: a Series of text."""
    texts = [spread(row.mean, row.low, row.high, row.seeds, sign, digits) for row in table.itertuples()]
    return pd.Series(texts, table.index, dtype=object)


def theirs(table, sign=""):
    """The thesis' numbers of a frame with the columns thesis and note, as text: a Series."""
    texts = []
    for value, note in zip(table.thesis, table.note):
        noted = f"\n({note})" if isinstance(note, str) and note else ""
        texts.append(NONE if pd.isna(value) else f"{value:{sign}.2f}{noted}")
    return pd.Series(texts, table.index, dtype=object)


def beside(table, columns, sign=""):
    """Ours beside the thesis': a frame of `numbers.over_seeds` with the level `columns` of its index as columns.

    A column of which the thesis has no number at all has no thesis beside it.
    """
    both = pd.DataFrame({"thesis": theirs(table, sign), "ours": spreads(table, sign)})
    wide = both.unstack(columns).swaplevel(axis=1)
    wide = wide.reindex(columns=pd.MultiIndex.from_product([table.index.unique(columns), ["thesis", "ours"]]))
    wide = wide.reindex(table.index.droplevel(columns).unique()).fillna(NONE)
    return wide.loc[:, [column for column in wide if column[1] == "ours" or (wide[column] != NONE).any()]]


def named(table):
    """The data sets in a table's index and columns as the book writes them."""
    names = {"ood": "set"}
    return table.rename(index=numbers.SETS, columns=numbers.SETS).rename_axis(index=names, columns=names)


def unseen(run):
    """What stands in place of a picture of scores image by image, where `numbers.by_image` has none."""
    return Markdown(f"Scores image by image are not recorded of this network; `{command(run.config)}` trains it.")


def kinds(names):
    """Of runs the widths, and the optimizers, which tell the recipe, as text."""
    configs = [run.config for run in every() if run.config.name in names]
    widths, optimizers = {config.width for config in configs}, {numbers.OPTIMIZERS[one.optimizer] for one in configs}
    return f", width {listed(sorted(widths))}, trained by {listed(sorted(optimizers))}" if configs else ""


def footer(data=None, runs=()):
    """What stands under every exhibit, as HTML: its data as CSV, where its code is, the runs that it came from."""
    parts = []
    if data is not None:
        csv = base64.b64encode(data.to_csv().encode()).decode()
        parts.append(f'<a download="data.csv" href="data:text/csv;base64,{csv}">data (CSV)</a>')
    parts.append("code: in the folded cell above")
    if len(runs):
        names = sorted(set(runs))
        counted = f"{len(names)} run{'s' * (len(names) > 1)}{kinds(names)}"
        parts.append(f'<details style="display: inline-block; vertical-align: top"><summary>{counted}</summary>'
                     f"{'<br>'.join(map(escape, names))}</details>")  # fmt: skip
    return f'<div class="made-from" style="font-size: 0.75em; margin: 0.2em 0 1.2em">{" · ".join(parts)}</div>'


def show(table, caption, data=None, runs=(), digits=1, look=None):
    """A table as the book shows it: its caption above, its data (without `data`, itself) and runs beneath.

    `look` is a frame of the table's shape with a cell's CSS.
    """
    if table.empty:
        return Markdown(f"*{caption} {MISSING.capitalize()}.*")
    cell = "text-align: left; vertical-align: top; padding: 0.2em 0.45em"
    looks = {
        "": "font-size: 0.8em; border-collapse: collapse",
        "caption": "caption-side: top; text-align: left; padding: 0.5em 0",
        "th": f"{cell}; font-weight: 600",
        "td": f"{cell}; white-space: pre-line",
    }
    styles = [{"selector": selector, "props": props} for selector, props in looks.items()]
    text = named(table).style.format(precision=digits, na_rep=NONE).set_caption(caption).set_table_styles(styles)
    if look is not None:
        text = text.apply(lambda _: named(look), axis=None)
    return HTML(f'<div style="overflow-x: auto">{text.to_html()}</div>{footer(table if data is None else data, runs)}')


def says(text, holds):
    """A sentence written by hand, and whether it holds with the runs that there are (None: they are not recorded).

    It is shown as it is while it holds; a test finds no warning sign in the default book.
    """
    if holds is None or pd.isna(holds):
        return Markdown(f"{text} *({MISSING})*")
    return Markdown(text if holds else f"⚠ *No longer so with these runs:* {text}")


def score(name):
    """`min_of_misp` or `layer1.2/min_of_misp` as the slides write it: min of MiSP, min of MiSP layer1.2."""
    *layer, last = name.split("/")
    words = {"msp": "MSP", "misp": "MiSP", "asp": "ASP", "mahalanobis": "Mahalanobis", "max": "max"}
    return " ".join([*(words.get(word, word) for word in last.split("_")), *(one for one in layer if one != "fc")])


def listed(items):
    """a, b and c; of nothing, an empty text."""
    texts = [*map(str, items)]
    return f"{', '.join(texts[:-1])} and {texts[-1]}" if len(texts) > 1 else "".join(texts)
