//! Which name was probably meant.

/// The name with the fewest typing mistakes, where these are few enough for it to be meant.
pub(crate) fn nearest<'a>(word: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    names
        .map(|name| (typing_mistakes(word, name), name))
        .min()
        .filter(|&(mistakes, name)| is_near(mistakes, name))
        .map(|(_, name)| name)
}

fn is_near(mistakes: usize, name: &str) -> bool {
    mistakes <= name.len() / 3 + 1 && mistakes < name.len() / 2 + 1
}

/// The number of letters to insert, remove or replace.
fn typing_mistakes(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, letter) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &other) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != other);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}
