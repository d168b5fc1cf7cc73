//! The sheet that pictures are drawn on: lines, boxes and words at places, in classes of colours.

use std::fmt::Write;

/// Width of a letter in times the size of its font: a little more than Helvetica's mean.
const LETTER: f64 = 0.53;

/// What the classes look like. `f` fills and `l` draws the colours of series: Okabe's and Ito's, which people
/// with any colour vision tell apart, lighter on dark paper.
pub(crate) const STYLE: &str = "\
.paper{fill:#fff}.ink{fill:#333}.faint{fill:#666}.grid{stroke:#ddd}.axis{stroke:#555}.none{fill:none}\
.f0{fill:#0072b2}.f1{fill:#e69f00}.f2{fill:#009e73}.f3{fill:#d55e00}.f4{fill:#cc79a7}.f5{fill:#56b4e9}\
.f6{fill:#8c7a3a}.f7{fill:#8a8a8a}\
.l0{stroke:#0072b2}.l1{stroke:#e69f00}.l2{stroke:#009e73}.l3{stroke:#d55e00}.l4{stroke:#cc79a7}\
.l5{stroke:#56b4e9}.l6{stroke:#8c7a3a}.l7{stroke:#8a8a8a}\
@media (prefers-color-scheme:dark){.paper{fill:#16191d}.ink{fill:#dde1e6}.faint{fill:#9aa3ad}\
.grid{stroke:#343a41}.axis{stroke:#aab2bb}.f0{fill:#2e86de}.l0{stroke:#2e86de}.f5{fill:#9ad7f7}.l5{stroke:#9ad7f7}.f2{fill:#1fb88c}\
.l2{stroke:#1fb88c}.f6{fill:#b5a25a}.l6{stroke:#b5a25a}}";

/// Where words lie beside their place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

/// A finished picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    title: String,
    width: f64,
    height: f64,
    body: String,
}

impl Picture {
    /// A file of its own, which brings its colours.
    #[must_use]
    pub fn alone(&self) -> String {
        let mut out = self.opened();
        let _ = writeln!(out, "<style>{STYLE}</style>");
        out.push_str("<rect width=\"100%\" height=\"100%\" class=\"paper\"/>\n");
        out.push_str(&self.body);
        out.push_str("</svg>\n");
        out
    }

    /// A part of a page, which has [`STYLE`].
    pub(crate) fn within(&self) -> String {
        let mut out = self.opened();
        out.push_str(&self.body);
        out.push_str("</svg>\n");
        out
    }

    fn opened(&self) -> String {
        let (width, height) = (self.width, self.height);
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} \
             {height}\" role=\"img\" aria-label=\"{}\" font-family=\"Helvetica, Arial, sans-serif\">\n",
            escape(&self.title)
        )
    }
}

/// A picture in the making.
#[derive(Debug)]
pub(crate) struct Canvas {
    title: String,
    width: f64,
    height: f64,
    body: String,
}

impl Canvas {
    /// An empty sheet; `title` names it for those who do not see it, and is not drawn.
    pub(crate) fn new(width: f64, height: f64, title: &str) -> Self {
        Self {
            title: title.to_owned(),
            width,
            height,
            body: String::new(),
        }
    }

    /// Words at a place, in a class and size.
    pub(crate) fn words(
        &mut self,
        (x, y): (f64, f64),
        anchor: Anchor,
        (class, size): (&str, u32),
        words: &str,
    ) {
        let anchor = match anchor {
            Anchor::Start => "",
            Anchor::Middle => " text-anchor=\"middle\"",
            Anchor::End => " text-anchor=\"end\"",
        };
        let words = escape(words);
        let _ = writeln!(
            self.body,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" class=\"{class}\" font-size=\"{size}\"{anchor}>{words}</text>"
        );
    }

    /// A line between two places.
    pub(crate) fn line(&mut self, from: (f64, f64), to: (f64, f64), class: &str) {
        let _ = writeln!(
            self.body,
            "<path d=\"M{:.1} {:.1}L{:.1} {:.1}\" class=\"{class} none\"/>",
            from.0, from.1, to.0, to.1
        );
    }

    /// A box with its upper left corner at a place; who points at it reads `told`, where that is not empty.
    pub(crate) fn rect(
        &mut self,
        (x, y): (f64, f64),
        (width, height): (f64, f64),
        (class, opacity): (&str, f64),
        told: &str,
    ) {
        let mut opaque = String::new();
        if opacity < 1.0 {
            let _ = write!(opaque, " fill-opacity=\"{opacity:.3}\"");
        }
        let _ = write!(
            self.body,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" class=\"{class}\"{opaque}"
        );
        self.close(told, "rect");
    }

    /// A dot.
    pub(crate) fn dot(&mut self, (x, y): (f64, f64), class: &str, told: &str) {
        let _ = write!(
            self.body,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\" class=\"{class}\""
        );
        self.close(told, "circle");
    }

    /// A path as SVG writes it, with attributes as SVG writes them.
    pub(crate) fn path(&mut self, d: &str, attributes: &str) {
        let _ = writeln!(self.body, "<path d=\"{d}\" {attributes}/>");
    }

    /// Boxes of colour with their names, in lines of at most the width from `left` to `right`; gives where the
    /// next thing may begin.
    pub(crate) fn legend(&mut self, top: f64, (left, right): (f64, f64), names: &[String]) -> f64 {
        let (mut x, mut y) = (left, top);
        for (number, name) in names.iter().enumerate() {
            let width = 18.0 + width_of(name, 12) + 20.0;
            if x > left && x + width > right {
                (x, y) = (left, y + 18.0);
            }
            let class = format!("f{}", number % super::SERIES_MAX);
            self.rect((x, y), (12.0, 12.0), (&class, 1.0), "");
            self.words((x + 18.0, y + 10.5), Anchor::Start, ("ink", 12), name);
            x += width;
        }
        y + 24.0
    }

    /// How high a legend of [`Canvas::legend`] is.
    pub(crate) fn legend_height((left, right): (f64, f64), names: &[String]) -> f64 {
        Self::new(0.0, 0.0, "").legend(0.0, (left, right), names)
    }

    pub(crate) fn finish(self) -> Picture {
        Picture {
            title: self.title,
            width: self.width,
            height: self.height,
            body: self.body,
        }
    }

    fn close(&mut self, told: &str, element: &str) {
        if told.is_empty() {
            self.body.push_str("/>\n");
        } else {
            let _ = writeln!(self.body, "><title>{}</title></{element}>", escape(told));
        }
    }
}

/// About how wide words are.
pub(crate) fn width_of(words: &str, size: u32) -> f64 {
    words.chars().count() as f64 * LETTER * f64::from(size)
}

/// Words as they may stand in SVG and HTML, between elements and in quotes.
pub(crate) fn escape(words: &str) -> String {
    let mut text = String::with_capacity(words.len());
    for c in words.chars() {
        match c {
            '&' => text.push_str("&amp;"),
            '<' => text.push_str("&lt;"),
            '>' => text.push_str("&gt;"),
            '"' => text.push_str("&quot;"),
            // Nothing else below a space may stand in XML, whatever a file is called.
            c if c.is_control() => text.push('\u{fffd}'),
            c => text.push(c),
        }
    }
    text
}
