//! "Did you mean": the known word nearest to an unknown one.

/// Longer words are no keyword misspelt, and comparing takes the product of both lengths.
const WORD_LEN_MAX: usize = 100;

/// The candidate nearest to `word`, when one is near enough to be what was meant: at most a third
/// of its letters may differ.
pub(crate) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    if word.len() > WORD_LEN_MAX {
        return None;
    }
    let lower = word.to_ascii_lowercase();
    candidates
        .into_iter()
        .filter_map(|candidate| {
            let letters = candidate.len().max(lower.len());
            // What differs in length differs at least by that: most candidates end here.
            if candidate.len().abs_diff(lower.len()) * 3 > letters {
                return None;
            }
            let distance = strsim::damerau_levenshtein(&lower, &candidate.to_ascii_lowercase());
            (distance * 3 <= letters).then_some((distance, candidate))
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
