//! "Did you mean": the known word nearest to an unknown one.

use crate::diagnostics::{Diagnostic, SHOWN_MAX, Severity};

/// Names of a file that an unknown one is compared with: as many as a second's work allows.
const CANDIDATES_MAX: usize = 10_000;

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

/// The same where words and candidates are as many as the file has lines: nothing is compared any
/// more once so much was reported that a hint would not be shown, and not with all candidates.
pub(crate) fn did_you_mean_among_many<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
    reported: &[Diagnostic],
) -> Option<String> {
    // The latest first: where there are many alerts, they are found soon.
    let alerts = reported.iter().rev();
    let alerts = alerts.filter(|diagnostic| diagnostic.severity == Severity::Alert);
    match alerts.take(SHOWN_MAX).count() < SHOWN_MAX {
        true => did_you_mean(word, candidates.into_iter().take(CANDIDATES_MAX)),
        false => None,
    }
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
