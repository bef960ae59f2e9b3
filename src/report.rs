//! Reports: one HTML page with the curves, scores, settings, pictures and commands of runs.
//!
//! The page holds all that it shows: style, script, numbers and pictures. Its policy forbids any request. It is
//! well-formed XML too, so that other programs can read it.

use crate::files::svg_mark;
use crate::human::plural;
use crate::plot::overview::{Figure, Kin, Overview};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use std::collections::BTreeSet;

const STYLE: &str = include_str!("report/page.css");
const SCRIPT: &str = include_str!("report/page.js");

/// Allows what the page itself holds, and no request.
const POLICY: &str = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'";

/// Rows from which on a table of settings is folded.
const MAX_ROWS: usize = 24;

/// Contents of a page.
pub(crate) struct Page {
    pub overview: Overview,
    /// Metric that is shown first.
    pub first_metric: String,
    /// Tables of scores: one of agents, one of fits.
    pub scores: Vec<Table>,
    pub films: Vec<Picture>,
    pub pictures: Vec<Picture>,
    pub recipes: Vec<Recipe>,
}

/// A table with a row for each run.
pub(crate) struct Table {
    pub header: Vec<String>,
    pub rows: Vec<Vec<String>>,
    /// Number of columns at the left that are words.
    pub n_words: usize,
}

/// A picture and its caption.
pub(crate) struct Picture {
    pub caption: String,
    /// Such as `image/png`.
    pub media_type: &'static str,
    pub bytes: Vec<u8>,
}

/// How runs of one configuration were made.
#[derive(PartialEq, Eq)]
pub(crate) struct Recipe {
    pub names: Vec<String>,
    /// Version and commit.
    pub made_by: String,
    pub commands: Vec<String>,
    /// Text of the configuration file.
    pub config: String,
}

impl Page {
    /// Returns the text of the file.
    pub(crate) fn html(&self) -> String {
        let title = escaped(&self.overview.title);
        let runs = plural(self.overview.groups.iter().map(|group| group.runs.len() as u64).sum(), "run");
        let sections =
            [self.curves(), self.scores(), self.settings(), self.films(), self.pictures(), self.recipes()].concat();
        format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\"/>\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
             <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
             <header><h1>{title}</h1><p class=\"note\">{runs}</p></header>\n<main>\n{sections}\
             <footer>Made by <code>carom report</code>, version {}.</footer>\n</main>\n\
             <script type=\"application/json\" id=\"data\">{}</script>\n\
             <script>\n//<![CDATA[\n{SCRIPT}//]]>\n</script>\n</body>\n</html>\n{}",
            env!("CARGO_PKG_VERSION"),
            self.data(),
            svg_mark()
        )
    }

    /// Returns the numbers of the curves as JSON that can stand in a page.
    fn data(&self) -> String {
        let labels: Vec<&str> = self.overview.groups.iter().map(|group| group.label.as_str()).collect();
        let data = json!({"groups": labels, "figures": self.overview.figures}).to_string();
        // These occur in texts only, where JSON has escapes for them.
        data.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
    }

    fn curves(&self) -> String {
        if self.overview.figures.is_empty() {
            return "<section><h2>Curves</h2><p>Nothing has been logged yet.</p></section>\n".to_owned();
        }
        let option = |(i, figure): (usize, &Figure)| {
            let selected = if figure.metric == self.first_metric { " selected=\"selected\"" } else { "" };
            format!("<option value=\"{i}\"{selected}>{}</option>", escaped(&figure.metric))
        };
        let options: String = self.overview.figures.iter().enumerate().map(option).collect();
        let repeated = self.overview.groups.iter().any(|group| group.runs.len() > 1);
        let meaning = match repeated {
            true => " Lines are means over seeds, bands reach from the lowest to the highest.",
            false => "",
        };
        format!(
            "<section><h2>Curves</h2>\n<div class=\"choices\">\
             <label>Metric <select id=\"metric\">{options}</select></label>\
             <label><input type=\"checkbox\" id=\"log\"/> logarithmic</label></div>\n\
             <p class=\"note\"><span id=\"along\"></span>{meaning}</p>\n\
             <svg id=\"chart\" role=\"img\" aria-label=\"Curves\"></svg>\n<ul id=\"legend\"></ul>\n\
             <noscript><p>The curves are drawn by a script of this page, which is switched off.</p></noscript>\
             </section>\n"
        )
    }

    fn scores(&self) -> String {
        let tables: String = self.scores.iter().map(Table::html).collect();
        format!("<section><h2>Final scores</h2>\n{tables}</section>\n")
    }

    /// Returns a table of the settings in which groups differ; a single run has none.
    fn settings(&self) -> String {
        let groups = &self.overview.groups;
        let keys: BTreeSet<&String> = groups.iter().flat_map(|group| group.settings.keys()).collect();
        let first = &groups[0].settings;
        let differs = |key: &&String| groups.iter().any(|group| group.settings.get(*key) != first.get(*key));
        let differing: Vec<&String> = keys.into_iter().filter(differs).collect();
        let table = match (differing.len(), groups.iter().map(|group| group.runs.len()).sum::<usize>()) {
            (0, 1) => return String::new(),
            (0, _) => "<p>All settings are the same but for the seed.</p>".to_owned(),
            (1..=MAX_ROWS, _) => settings_table(groups, &differing),
            (n, _) => {
                let table = settings_table(groups, &differing);
                format!("<details><summary>{n} settings</summary>\n{table}</details>\n")
            }
        };
        format!("<section><h2>Settings that differ</h2>\n{table}</section>\n")
    }

    fn films(&self) -> String {
        let heading = if self.films.len() == 1 { "An episode" } else { "An episode of each configuration" };
        figures(heading, "film", &self.films)
    }

    fn pictures(&self) -> String {
        figures("Pictures", "picture", &self.pictures)
    }

    fn recipes(&self) -> String {
        let recipes: String = self.recipes.iter().map(Recipe::html).collect();
        format!("<section><h2>Reproduce</h2>\n{recipes}</section>\n")
    }
}

/// Returns a table with a row for each key and a column for each group.
fn settings_table(groups: &[Kin], keys: &[&String]) -> String {
    let header = ["setting".to_owned()].into_iter().chain(groups.iter().map(|group| group.label.clone())).collect();
    let row = |key: &&String| {
        let value = |group: &Kin| group.settings.get(*key).cloned().unwrap_or_else(|| "\u{2013}".to_owned());
        [(*key).clone()].into_iter().chain(groups.iter().map(value)).collect()
    };
    Table { header, rows: keys.iter().map(row).collect(), n_words: groups.len() + 1 }.html()
}

fn figures(heading: &str, class: &str, pictures: &[Picture]) -> String {
    if pictures.is_empty() {
        return String::new();
    }
    let figure = |picture: &Picture| {
        let (caption, data) = (escaped(&picture.caption), STANDARD.encode(&picture.bytes));
        let media_type = picture.media_type;
        format!(
            "<figure class=\"{class}\"><img alt=\"{caption}\" src=\"data:{media_type};base64,{data}\"/>\
             <figcaption>{caption}</figcaption></figure>\n"
        )
    };
    let figures: String = pictures.iter().map(figure).collect();
    format!("<section><h2>{heading}</h2>\n<div class=\"pictures\">\n{figures}</div></section>\n")
}

impl Table {
    fn html(&self) -> String {
        let kind = |column: usize| match column {
            0 => " class=\"name\"",
            _ if column < self.n_words => " class=\"word\"",
            _ => " class=\"number\"",
        };
        let header = self.header.iter().enumerate();
        let head = |(i, cell): (usize, &String)| format!("<th{}>{}</th>", kind(i), escaped(cell));
        let header: String = header.map(head).collect();
        let cell = |(i, cell): (usize, &String)| format!("<td{}>{}</td>", kind(i), escaped(cell));
        let row = |row: &Vec<String>| format!("<tr>{}</tr>\n", row.iter().enumerate().map(cell).collect::<String>());
        let rows: String = self.rows.iter().map(row).collect();
        format!(
            "<div class=\"scroll\" tabindex=\"0\"><table><thead><tr>{header}</tr></thead><tbody>\n{rows}</tbody>\
             </table></div>\n"
        )
    }
}

impl Recipe {
    fn html(&self) -> String {
        let command = |command: &String| format!("<pre>{}</pre>", escaped(command));
        let commands: String = self.commands.iter().map(command).collect();
        format!(
            "<h3>{}</h3>\n<p class=\"note\">{}</p>\n{commands}<details><summary>config.toml of {}</summary>\
             <pre>{}</pre></details>\n",
            escaped(&self.names.join(", ")),
            escaped(&self.made_by),
            escaped(&self.names[0]),
            escaped(&self.config)
        )
    }
}

/// Returns `text` as it stands in the text or an attribute of a page.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            // No XML may hold them.
            c if c.is_control() && c != '\n' && c != '\t' => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
    }
    safe
}
