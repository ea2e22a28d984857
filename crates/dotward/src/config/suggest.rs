//! The word that was probably meant.

/// The candidate nearest to `word`, if it is near enough to be a slip: at most one slip per three
/// letters, and always one. Ties go to the candidate that comes first.
pub(crate) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let limit = (word.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Insertions, deletions, replacements and swaps of neighbours from one word to the other, letter
/// case and the difference of `-` and `_` ignored.
fn distance(one: &str, other: &str) -> usize {
    let fold = |word: &str| -> Vec<char> {
        word.chars()
            .map(|c| {
                if c == '-' {
                    '_'
                } else {
                    c.to_ascii_lowercase()
                }
            })
            .collect()
    };
    let (one, other) = (fold(one), fold(other));
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.iter().enumerate() {
        let mut next = vec![i + 1];
        for (j, b) in other.iter().enumerate() {
            let mut best = (row[j] + usize::from(a != b))
                .min(row[j + 1] + 1)
                .min(next[j] + 1);
            if i > 0 && j > 0 && one[i - 1] == *b && other[j - 1] == *a {
                best = best.min(before[j - 1] + 1);
            }
            next.push(best);
        }
        before = std::mem::replace(&mut row, next);
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognised_and_strangers_are_not() {
        let keys = [
            "name",
            "address",
            "tls_name",
            "ca_file",
            "client_cert",
            "client_key",
        ];
        let cases = [
            ("tls_hostname", Some("tls_name")),
            ("addresses", Some("address")),
            ("tls-name", Some("tls_name")),
            ("nmae", Some("name")),
            ("CA_FILE", Some("ca_file")),
            ("client_kye", Some("client_key")),
            ("weight", None),
            ("x", None),
        ];
        for (word, expected) in cases {
            assert_eq!(nearest(word, keys), expected, "{word}");
        }
    }
}
