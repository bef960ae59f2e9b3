//! Markdown tables.

/// Cell without a number.
pub(crate) const NONE: &str = "–";

/// Returns rows of cells, the first being the head, as a Markdown table. A `|` does not end a cell.
pub(crate) fn table(cells: &[Vec<String>]) -> String {
    let escaped = |row: &Vec<String>| row.iter().map(|cell| cell.replace('|', "\\|")).collect();
    let cells: Vec<Vec<String>> = cells.iter().map(escaped).collect();
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

#[cfg(test)]
mod tests {
    use super::table;

    #[test]
    fn a_bar_in_a_cell_is_no_border() {
        let cells = [["name", "score"], ["a|b", "1"]].map(|row| row.map(String::from).to_vec());
        assert_eq!(table(&cells), "| name | score |\n| ---- | ----: |\n| a\\|b |     1 |\n");
    }
}
