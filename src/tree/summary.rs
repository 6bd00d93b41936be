//! A tree at a glance.

use super::{Flat, PyTree, View, leaves_with_paths};
use crate::array::Array;

/// What is in a tree, a line for each leaf: its path, its type, how many elements it has; then their sum. The components of an
/// array-ish value stand below it.
///
/// ```
/// use quaxide::prelude::*;
/// let [k1, k2] = random::key(0).split();
/// let model = loraify(&nn::Linear::new(4, 3, &k1), LoraConfig::rank(2), &k2).unwrap();
/// assert_eq!(tree::summary(&model), "\
/// .weight    lora[f32[3,4], rank=2]
/// .weight.w  f32[3,4]                12
/// .weight.a  f32[3,2]                 6
/// .weight.b  f32[2,4]                 8
/// .bias      f32[3]                   3
/// total                              29");
/// ```
pub fn summary<T: PyTree>(t: &T) -> String {
    let mut rows: Vec<[String; 3]> = vec![];
    let mut total = 0;
    t.flatten(&mut Flat::new(View::Values, &mut |path, x| {
        let within = leaves_with_paths(x);
        if x.as_dyn_value().is_some() {
            rows.push([path.into(), describe(x), String::new()]);
        }
        for (inner, x) in within {
            let n = if x.is_symbolic_zero() { 0 } else { x.size() };
            total += n;
            rows.push([format!("{path}{inner}"), describe(&x), grouped(n)]);
        }
    }));
    rows.push(["total".into(), String::new(), grouped(total)]);
    let width = |i: usize| {
        let cells = rows.iter().filter_map(|row| row.get(i));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let (path, kind, number) = (width(0), width(1), width(2));
    let line = |[a, b, c]: &[String; 3]| {
        let line = format!("{a:path$}  {b:kind$}  {c:>number$}");
        line.trim_end().to_string()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn describe(x: &Array) -> String {
    match x.as_dyn_value() {
        Some(v) => v.describe(),
        None if x.is_symbolic_zero() => format!("{x:?}"),
        None => match x.aval() {
            Ok(a) => a.to_string(),
            Err(e) => e.message().to_string(),
        },
    }
}

/// A number with its thousands set apart.
fn grouped(n: usize) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, d) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(d);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{array::Array, array::DType};

    #[test]
    fn totals_are_grouped_and_symbolic_zeros_count_for_nothing() {
        let x = Array::zeros([1000, 1234], DType::F32);
        let zero = Array::symbolic_zero(x.aval().unwrap());
        let text = summary(&(x, Some(zero)));
        let expected = "\
[0]    f32[1000,1234]        1,234,000
[1]    Zero(f32[1000,1234])          0
total                        1,234,000";
        assert_eq!(text, expected);
        assert_eq!(summary(&()), "total    0");
    }
}
