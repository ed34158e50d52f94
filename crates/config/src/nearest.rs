//! "Did you mean": the known word nearest to an unknown one.

/// The candidate nearest to `word`, when one is near enough to be what was meant: at most a third
/// of its letters may differ.
pub(crate) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let lower = word.to_ascii_lowercase();
    candidates
        .into_iter()
        .map(|candidate| {
            let distance = strsim::damerau_levenshtein(&lower, &candidate.to_ascii_lowercase());
            (distance, candidate)
        })
        .filter(|(distance, candidate)| {
            let letters = candidate.chars().count().max(lower.chars().count());
            distance * 3 <= letters
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// A help line that proposes the nearest candidate, if any is near enough.
pub(crate) fn did_you_mean<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    nearest(word, candidates).map(|candidate| format!("did you mean '{candidate}'?"))
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn near_words_are_proposed_and_far_ones_are_not() {
        let known = ["timeout client", "bind", "balance"];
        assert_eq!(nearest("bindd", known), Some("bind"));
        assert_eq!(nearest("balanec", known), Some("balance"));
        assert_eq!(nearest("zzz", known), None);
    }
}
