//! Figures of several runs, as text and as one. Measures nothing.

/// The middle one of some figures.
///
/// ```
/// assert_eq!(peerwren_benches::figures::median(&[3.0, 1.0, 2.0, 9.0]), 2.5);
/// ```
pub fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len().is_multiple_of(2) {
        f64::midpoint(sorted[middle - 1], sorted[middle])
    } else {
        sorted[middle]
    }
}

/// Figures in a line, with so many digits after the point.
///
/// ```
/// assert_eq!(peerwren_benches::figures::listed(&[3.0, 0.25], 1), "3.0 0.2");
/// ```
pub fn listed(figures: &[f64], digits: usize) -> String {
    let texts: Vec<String> = figures.iter().map(|f| format!("{f:.digits$}")).collect();
    texts.join(" ")
}

/// A table in Markdown: its head, `| a | b |`, and rows alike.
///
/// ```
/// let table = peerwren_benches::figures::table("| a | b |", &["| 1 | 2 |".to_owned()]);
/// assert_eq!(table, "| a | b |\n| --- | --- |\n| 1 | 2 |");
/// ```
pub fn table(head: &str, rows: &[String]) -> String {
    let columns = head.matches('|').count().saturating_sub(1);
    let line = format!("|{}", " --- |".repeat(columns));
    let lines: Vec<&str> = [head, &line]
        .into_iter()
        .chain(rows.iter().map(String::as_str))
        .collect();
    lines.join("\n")
}
