//! A page of HTML in one file: words, tables and pictures, light or dark as its reader likes. Fetches nothing
//! and runs no script; knows no run.

use std::fmt::Write;

use crate::chart::{Picture, STYLE, escape};

/// What the page looks like beside its pictures.
const PAGE_STYLE: &str = "\
:root{color-scheme:light dark;--paper:#fff;--ink:#26292e;--faint:#666;--rule:#d9dde2;--code:#f3f5f7}\
@media (prefers-color-scheme:dark){:root{--paper:#16191d;--ink:#dde1e6;--faint:#9aa3ad;--rule:#343a41;--code:#20252b}}\
body{margin:0 auto;padding:24px 28px 60px;max-width:1240px;background:var(--paper);color:var(--ink);\
font:15px/1.5 Helvetica,Arial,sans-serif}\
h1{font-size:24px;margin:12px 0 2px}h2{font-size:18px;margin:34px 0 10px}p{margin:8px 0}\
.note{color:var(--faint)}.wide{overflow-x:auto}\
table{border-collapse:collapse;font-size:13px}\
th,td{padding:4px 10px;border-bottom:1px solid var(--rule);text-align:left;vertical-align:top}\
th{font-weight:600;color:var(--faint)}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}\
dl{display:grid;grid-template-columns:max-content 1fr;gap:2px 18px;margin:10px 0}\
dt{color:var(--faint)}dd{margin:0;white-space:pre-line}\
code,pre{font:12.5px/1.45 Menlo,Consolas,\"DejaVu Sans Mono\",monospace}\
pre{background:var(--code);padding:10px 12px;border-radius:5px;overflow-x:auto;margin:8px 0}\
svg{display:block;max-width:100%;height:auto;margin:12px 0}";

/// A page in the making.
#[derive(Debug)]
pub(crate) struct Page {
    title: String,
    body: String,
}

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Column<'a> {
    Words(&'a str),
    Numbers(&'a str),
    Code(&'a str),
}

impl Page {
    /// A page that opens with its title.
    pub(crate) fn new(title: &str) -> Self {
        let mut page = Self {
            title: title.to_owned(),
            body: String::new(),
        };
        page.element("h1", title);
        page
    }

    pub(crate) fn heading(&mut self, words: &str) {
        self.element("h2", words);
    }

    /// A paragraph of lesser weight.
    pub(crate) fn note(&mut self, words: &str) {
        let _ = writeln!(self.body, "<p class=\"note\">{}</p>", escape(words));
    }

    /// Names and what there is to say of each, line by line.
    pub(crate) fn facts<'a>(&mut self, facts: impl IntoIterator<Item = (&'a str, &'a str)>) {
        self.body.push_str("<dl>\n");
        for (name, text) in facts {
            let lines: Vec<_> = text.lines().map(|line| escape(line.trim())).collect();
            let _ = writeln!(
                self.body,
                "<dt>{}</dt><dd>{}</dd>",
                escape(name),
                lines.join("\n")
            );
        }
        self.body.push_str("</dl>\n");
    }

    /// Rows as long as there are columns.
    pub(crate) fn table(&mut self, columns: &[Column<'_>], rows: &[Vec<String>]) {
        self.body.push_str("<div class=\"wide\"><table>\n<tr>");
        for column in columns {
            let (class, name) = match column {
                Column::Numbers(name) => (" class=\"n\"", name),
                Column::Words(name) | Column::Code(name) => ("", name),
            };
            let _ = write!(self.body, "<th{class}>{}</th>", escape(name));
        }
        self.body.push_str("</tr>\n");
        for row in rows {
            self.body.push_str("<tr>");
            for (column, cell) in columns.iter().zip(row) {
                let cell = escape(cell);
                let _ = match column {
                    Column::Words(_) => write!(self.body, "<td>{cell}</td>"),
                    Column::Numbers(_) => write!(self.body, "<td class=\"n\">{cell}</td>"),
                    Column::Code(_) => write!(self.body, "<td><code>{cell}</code></td>"),
                };
            }
            self.body.push_str("</tr>\n");
        }
        self.body.push_str("</table></div>\n");
    }

    pub(crate) fn picture(&mut self, picture: &Picture) {
        self.body.push_str(&picture.within());
    }

    /// Lines as they are typed.
    pub(crate) fn code(&mut self, lines: &[String]) {
        let lines: Vec<_> = lines.iter().map(|line| escape(line)).collect();
        let _ = writeln!(self.body, "<pre>{}</pre>", lines.join("\n"));
    }

    pub(crate) fn finish(self) -> String {
        format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n<title>{}</title>\n\
             <style>{PAGE_STYLE}\n{STYLE}</style>\n</head>\n<body>\n{}</body>\n</html>\n",
            escape(&self.title),
            self.body
        )
    }

    fn element(&mut self, name: &str, words: &str) {
        let _ = writeln!(self.body, "<{name}>{}</{name}>", escape(words));
    }
}

#[cfg(test)]
pub(crate) mod elements;

#[cfg(test)]
mod tests {

    use super::elements::elements;
    use super::*;

    #[test]
    fn words_of_a_page_are_words() {
        let mut page = Page::new("a <b> & c");
        page.facts([("x\u{7}", "1 < 2\n3")]);
        page.table(
            &[Column::Words("w"), Column::Numbers("n"), Column::Code("c")],
            &[vec![
                "<script>".to_owned(),
                "1".to_owned(),
                "a \"b\"".to_owned(),
            ]],
        );
        page.code(&["x > y".to_owned()]);
        let text = page.finish();
        let names = elements(&text);
        assert!(!names.contains(&"script"));
        assert!(
            text.contains("<dt>x\u{fffd}</dt><dd>1 &lt; 2\n3</dd>"),
            "{text}"
        );
        assert!(text.contains(
            "<td>&lt;script&gt;</td><td class=\"n\">1</td><td><code>a &quot;b&quot;</code></td>"
        ));
    }
}
