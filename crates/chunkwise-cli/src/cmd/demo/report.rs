//! What the demo did, as one page that opens without a network: its pictures are within it.

use crate::failed::Failed;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#222}\
h1{font-size:1.6em}h2{font-size:1.15em;margin-top:2em;border-bottom:1px solid #ddd;padding-bottom:.2em}\
pre{background:#f5f5f3;padding:.6em .8em;overflow-x:auto;font-size:13px}\
table{border-collapse:collapse;font-size:14px;margin:.8em 0}td,th{padding:.2em .9em .2em 0;text-align:right}\
td:first-child,th:first-child{text-align:left}th{border-bottom:1px solid #bbb;font-weight:600}\
figure{margin:1em 0}img{max-width:100%}figcaption,.cost{color:#666;font-size:13px}\
@media(prefers-color-scheme:dark){body{background:#1b1b1b;color:#ddd}pre{background:#262626}img{background:#fff}h2{border-color:#444}}";

#[derive(Debug, thiserror::Error)]
#[error("cannot {what} `{path}`")]
struct Report {
    what: &'static str,
    path: String,
    source: std::io::Error,
}

/// A page in the making.
#[derive(Debug, Default)]
pub(super) struct Page(String);

impl Page {
    /// Begins a step: what it is, its commands, what it took.
    pub(super) fn step(&mut self, title: &str, commands: &[String], cost: &str) {
        let _ = writeln!(self.0, "<h2>{}</h2>", escaped(title));
        if !commands.is_empty() {
            let _ = writeln!(
                self.0,
                "<pre>{}</pre>",
                commands.iter().map(|c| format!("$ {}\n", escaped(c))).collect::<String>()
            );
        }
        let _ = writeln!(self.0, "<p class=\"cost\">{}</p>", escaped(cost));
    }

    /// Text as a terminal shows it.
    pub(super) fn text(&mut self, text: &str) {
        let _ = writeln!(self.0, "<pre>{}</pre>", escaped(text.trim_end()));
    }

    /// A table; the first row has the heads.
    pub(super) fn table(&mut self, rows: &[Vec<String>]) {
        self.0.push_str("<table>\n");
        for (i, row) in rows.iter().enumerate() {
            let tag = if i == 0 { "th" } else { "td" };
            let cells: String = row.iter().map(|cell| format!("<{tag}>{}</{tag}>", escaped(cell))).collect();
            let _ = writeln!(self.0, "<tr>{cells}</tr>");
        }
        self.0.push_str("</table>\n");
    }

    /// A list of remarks.
    pub(super) fn list(&mut self, lines: &[String]) {
        if !lines.is_empty() {
            let items: String = lines.iter().map(|line| format!("<li>{}</li>\n", escaped(line))).collect();
            let _ = writeln!(self.0, "<ul>{items}</ul>");
        }
    }

    /// A picture of a file.
    pub(super) fn picture(&mut self, path: &Path, what: &str) -> Result<(), Failed> {
        let failed = |source| Failed::of(Report { what: "read", path: path.display().to_string(), source });
        let data = STANDARD.encode(std::fs::read(path).map_err(failed)?);
        let what = escaped(what);
        let _ = writeln!(
            self.0,
            "<figure><img alt=\"{what}\" src=\"data:image/png;base64,{data}\"><figcaption>{what}</figcaption></figure>"
        );
        Ok(())
    }

    /// Writes the page, aside and renamed.
    pub(super) fn save(&self, path: &Path, title: &str) -> Result<(), Failed> {
        let title = escaped(title);
        let page = format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
             <title>{title}</title><style>{STYLE}</style></head>\n<body>\n<h1>{title}</h1>\n{}</body></html>\n",
            self.0
        );
        let failed = |source| Failed::of(Report { what: "write", path: path.display().to_string(), source });
        let aside = PathBuf::from(format!("{}.part", path.display()));
        std::fs::write(&aside, page).and_then(|()| std::fs::rename(&aside, path)).map_err(failed)
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
