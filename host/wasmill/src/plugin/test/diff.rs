//! The difference of two texts, line by line.

/// How many equal lines are shown around a difference.
const CONTEXT: usize = 2;
/// Beyond this many comparisons only the part that differs is shown as a whole.
const COMPARISONS_MAX: usize = 4_000_000;

/// A line of the difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line<'a> {
    Equal(&'a str),
    Expected(&'a str),
    Got(&'a str),
}

/// Returns the lines that differ, with `-` before what was expected and `+` before what came, and some equal lines
/// around them.
pub(super) fn lines(expected: &str, got: &str) -> String {
    let lines = compare(&split(expected), &split(got));
    let is_shown = |at: usize| {
        let around = &lines[at.saturating_sub(CONTEXT)..lines.len().min(at + CONTEXT + 1)];
        around.iter().any(|line| !matches!(line, Line::Equal(_)))
    };
    let mut shown = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        if is_shown(at) {
            shown.push(match line {
                Line::Equal(text) => format!("  {text}"),
                Line::Expected(text) => format!("- {text}"),
                Line::Got(text) => format!("+ {text}"),
            });
        } else if at == 0 || is_shown(at - 1) {
            shown.push("  …".to_owned());
        }
    }
    shown.join("\n")
}

/// Splits into lines; a text that ends within a line differs from one that ends with it.
fn split(text: &str) -> Vec<&str> {
    text.split('\n').collect()
}

fn compare<'a>(expected: &[&'a str], got: &[&'a str]) -> Vec<Line<'a>> {
    let start = expected.iter().zip(got).take_while(|(a, b)| a == b).count();
    let (expected_rest, got_rest) = (&expected[start..], &got[start..]);
    let end = expected_rest.iter().rev().zip(got_rest.iter().rev()).take_while(|(a, b)| a == b).count();
    let middle = (&expected_rest[..expected_rest.len() - end], &got_rest[..got_rest.len() - end]);
    let mut lines: Vec<_> = expected[..start].iter().map(|line| Line::Equal(line)).collect();
    if middle.0.len().saturating_mul(middle.1.len()) > COMPARISONS_MAX {
        lines.extend(middle.0.iter().map(|line| Line::Expected(line)));
        lines.extend(middle.1.iter().map(|line| Line::Got(line)));
    } else {
        add_middle(middle.0, middle.1, &mut lines);
    }
    lines.extend(expected[expected.len() - end..].iter().map(|line| Line::Equal(line)));
    lines
}

/// Keeps a longest common subsequence.
fn add_middle<'a>(expected: &[&'a str], got: &[&'a str], lines: &mut Vec<Line<'a>>) {
    let width = got.len() + 1;
    // Of the rests from line `i` of one and line `j` of the other: how many lines both have.
    let mut common = vec![0_u32; (expected.len() + 1) * width];
    for i in (0..expected.len()).rev() {
        for j in (0..got.len()).rev() {
            common[i * width + j] = if expected[i] == got[j] {
                common[(i + 1) * width + j + 1] + 1
            } else {
                common[(i + 1) * width + j].max(common[i * width + j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    while i < expected.len() || j < got.len() {
        let is_got =
            j < got.len() && (i == expected.len() || common[i * width + j + 1] > common[(i + 1) * width + j]);
        if i < expected.len() && j < got.len() && expected[i] == got[j] {
            lines.push(Line::Equal(expected[i]));
            (i, j) = (i + 1, j + 1);
        } else if is_got {
            lines.push(Line::Got(got[j]));
            j += 1;
        } else {
            lines.push(Line::Expected(expected[i]));
            i += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_lines_far_from_a_difference_are_left_out() {
        let expected = "1\n2\n3\n4\n5\n6\n7\n8\n9\n";
        assert_eq!(
            lines(expected, &expected.replace('5', "five")),
            "  …\n  3\n  4\n- 5\n+ five\n  6\n  7\n  …"
        );
    }

    #[test]
    fn added_and_missing_lines_are_told_apart() {
        assert_eq!(lines("a\nb\nc", "a\nc"), "  a\n- b\n  c");
        assert_eq!(lines("a\nc", "a\nb\nc"), "  a\n+ b\n  c");
        assert_eq!(lines("", "x"), "- \n+ x");
        assert_eq!(lines("x\n", "x"), "  x\n- ");
        assert_eq!(lines("x\ny\nx", "y\nx\ny"), "- x\n  y\n  x\n+ y");
    }

    #[test]
    fn very_long_texts_are_compared_in_bounded_time() {
        let expected: Vec<_> = (0..10_000).map(|line| format!("a{line}")).collect();
        let got: Vec<_> = (0..10_000).map(|line| format!("b{line}")).collect();
        assert_eq!(lines(&expected.join("\n"), &got.join("\n")).lines().count(), 20_000);
    }
}
