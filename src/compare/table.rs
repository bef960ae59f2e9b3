//! Markdown tables.

/// Cell without a number.
pub(crate) const NONE: &str = "–";

/// Returns rows of cells, the first being the head, as a Markdown table.
pub(crate) fn table(cells: &[Vec<String>]) -> String {
    let width = |column: usize| cells.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..cells[0].len()).map(width).collect();
    let mut text = String::new();
    for (i, row) in cells.iter().enumerate() {
        let padded = row.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| match column {
            0 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        text += &format!("| {} |\n", padded.collect::<Vec<_>>().join(" | "));
        if i == 0 {
            let rules = widths.iter().enumerate().map(|(column, &width)| match column {
                0 => "-".repeat(width),
                _ => format!("{}:", "-".repeat(width - 1)),
            });
            text += &format!("| {} |\n", rules.collect::<Vec<_>>().join(" | "));
        }
    }
    text
}
