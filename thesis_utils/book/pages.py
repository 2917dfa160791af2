"""What the built pages ask of Sphinx: references by author and year, the version beneath, buttons where they lead.

`_config.yml` names this module among its extensions. The address of the repository is set there; without one the two
buttons stay away.
"""

from pybtex.plugin import register_plugin
from pybtex.richtext import Text
from pybtex.style.formatting.plain import Style
from pybtex.style.labels import BaseLabelStyle

from thesis_utils import __version__


class AuthorYear(BaseLabelStyle):
    """Labels such as "Hendrycks and Gimpel, 2017" and "Liu et al., 2020"; a letter follows where two are the same."""

    def format_labels(self, sorted_entries):
        used = []
        for entry in sorted_entries:
            people = entry.persons["author"]
            names = [str(Text.from_latex(" ".join(one.prelast_names + one.last_names))) for one in people]
            label = names[0] + (" et al." if len(names) > 2 else f" and {names[1]}" if len(names) == 2 else "")
            if "year" in entry.fields:
                label += f", {entry.fields['year']}"
            used.append(label)
            yield label + "abcdefgh"[used.count(label) - 2] if used.count(label) > 1 else label


class ByAuthorAndYear(Style):
    default_label_style = AuthorYear


def complete(app, config):
    """Sets the buttons by whether there is an address, and the line beneath every page."""
    options = config.html_theme_options
    for button in ("use_repository_button", "use_issues_button"):
        options[button] = bool(options.get("repository_url"))
    options["extra_footer"] = f"<p>Version {__version__}. The thesis is by Praveen Annamalai Nathan.</p>"


def setup(app):
    register_plugin("pybtex.style.formatting", "author_year", ByAuthorAndYear)
    app.connect("config-inited", complete)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
