//! What somebody may have meant by a name that is not known.

/// Longer names are compared by their first letters: the work is bounded, whoever sent the name.
const COMPARED: usize = 64;

/// The candidate nearest to `written`, when at most a third of it, rounded up, would have to change.
pub fn closest<T: AsRef<str> + Ord>(
    written: &str,
    candidates: impl IntoIterator<Item = T>,
) -> Option<T> {
    let ranked = candidates.into_iter().map(|name| (edit_distance(written, name.as_ref()), name));
    let (distance, name) = ranked.min()?;
    (distance <= written.chars().count().min(COMPARED).div_ceil(3)).then_some(name)
}

/// How many letters have to be changed, added or removed to make one of the other.
fn edit_distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().take(COMPARED).collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (line, from) in left.chars().take(COMPARED).enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], line + 1);
        for (column, to) in right.iter().enumerate() {
            let change = diagonal + usize::from(from != *to);
            diagonal = row[column + 1];
            row[column + 1] = change.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_offered_when_it_is_near() {
        let names = ["engine", "listen", "names", "binary"];
        for (written, want) in [
            ("engin", Some("engine")),
            ("lisen", Some("listen")),
            ("name", Some("names")),
            ("quorum", None),
            ("", None),
        ] {
            assert_eq!(closest(written, names), want, "{written}");
        }
        assert_eq!(closest("größe", ["größen".to_owned()]), Some("größen".to_owned()));
        assert_eq!(closest::<&str>("a", []), None);
        assert_eq!(closest(&"x".repeat(1 << 20), ["y"]), None);
    }
}
