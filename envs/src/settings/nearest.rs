//! The known word nearest to an unknown one.

/// "did you mean `…`? (there are …)", without the question if no known word is near.
pub fn suggest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    let all = known.join(", ");
    match nearest(word, known) {
        Some(near) => format!("did you mean `{near}`? (there are {all})"),
        None => format!("there are {all}"),
    }
}

/// The one of `known` most like `word`: it begins with `word`, or differs in at most a third of its letters. `None` if
/// no word is that near.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let distance = |known: &str| {
        if !word.is_empty() && known.starts_with(word) { 0 } else { strsim::damerau_levenshtein(word, known) }
    };
    let is_near = |(distance, known): &(usize, &str)| *distance <= (word.len().max(known.len()) / 3).max(1);
    let near = known.into_iter().map(|known| (distance(known), known)).filter(is_near);
    near.min_by_key(|(distance, _)| *distance).map(|(_, known)| known)
}
