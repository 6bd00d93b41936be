//! Arrays as text: `Display` as `print(x)` does in NumPy, `Debug` as JAX's `repr`.
//!
//! The layout is that of NumPy's `arrayprint.py`: one width for all elements, rows wrapped at 75 columns, the edges alone of an array
//! of more than 1,000 elements, the exponent shown for all elements if it is needed for one.

use super::{Array, Buffer, DType, Kind, Repr, Scalar, buffer::Stored, dtype::with_dtype};
use half::{bf16, f16};
use num_complex::Complex;
use std::fmt;

const LINE_WIDTH: usize = 75;
const PRECISION: usize = 8;
/// An array of more elements is shown by its edges.
const THRESHOLD: usize = 1000;
const EDGE: usize = 3;

/// The numbers of a concrete array as NumPy prints them; what else an array may be as its type in a word.
///
/// A precision, 8 if not said, is the most digits behind the point; a single number has just so many.
///
/// ```
/// use quaxide::prelude::*;
/// let x = Array::from([0.5f32, 1.0 / 3.0]);
/// assert_eq!(format!("{x} {x:.2}, sum {:.2}", x.sum(())), "[0.5        0.33333334] [0.5  0.33], sum 0.83");
/// ```
impl fmt::Display for Array {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::Dense(b) if b.shape().is_empty() => match (b.item(), f.precision()) {
                (Some(Scalar::Float(x)), Some(digits)) => write!(f, "{x:.digits$}"),
                _ => f.write_str(&single(b)),
            },
            Repr::Dense(b) => {
                let limit = f.precision().unwrap_or(PRECISION);
                f.write_str(&text(b, limit, " ", 0, 0))
            }
            Repr::Error(e) => write!(f, "{e}"),
            _ => write!(f, "{self:?}"),
        }
    }
}

/// As JAX's `repr`: the numbers and the element type.
impl fmt::Debug for Array {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::Dense(b) => f.write_str(&representation(b)),
            Repr::Traced(t) => write!(f, "Traced({})", t.aval),
            Repr::Value(v) => f.write_str(&v.describe()),
            Repr::Zero(a) => write!(f, "Zero({a})"),
            Repr::Error(e) => write!(f, "{e:?}"),
        }
    }
}

fn representation(b: &Buffer) -> String {
    const PREFIX: &str = "Array(";
    let weak = if b.aval().weak_type && b.dtype().kind() != Kind::Bool {
        ", weak_type=True"
    } else {
        ""
    };
    let dtype = format!("dtype={}{weak}", b.dtype().name());
    let numbers = if b.is_empty() {
        let shape: Vec<String> = b.shape().iter().map(usize::to_string).collect();
        let comma = if shape.len() == 1 { "," } else { "" };
        format!("[], shape=({}{comma})", shape.join(", "))
    } else {
        text(b, PRECISION, ", ", PREFIX.len(), 1)
    };
    let last = numbers.lines().last().map_or(0, |l| l.chars().count());
    let space = if last + 2 + dtype.len() + 2 > LINE_WIDTH {
        format!("\n{}", " ".repeat(PREFIX.len()))
    } else {
        " ".to_string()
    };
    format!("{PREFIX}{numbers},{space}{dtype})")
}

/// One number, as Python prints it.
fn single(b: &Buffer) -> String {
    let zero = |text: String| match text.strip_suffix('.') {
        Some(_) => text + "0",
        None => text,
    };
    match b.item() {
        Some(Scalar::Complex(z)) if z.re == 0.0 && z.re.is_sign_positive() => {
            let im = FloatFormat::new(&[z.im], b.dtype().real(), PRECISION, false).word(z.im);
            format!("{}j", im.trim_end_matches('.'))
        }
        Some(Scalar::Complex(z)) => {
            let part =
                |v: f64, plus| FloatFormat::new(&[v], b.dtype().real(), PRECISION, plus).word(v);
            let (re, im) = (part(z.re, false), part(z.im, true));
            format!(
                "({}{}j)",
                re.trim_end_matches('.'),
                im.trim_end_matches('.')
            )
        }
        _ => zero(text(b, PRECISION, " ", 0, 0)),
    }
}

/// The elements in brackets, as `np.array2string`; `prefix` and `suffix` say how much stands before and behind.
fn text(b: &Buffer, limit: usize, separator: &str, prefix: usize, suffix: usize) -> String {
    if b.is_empty() {
        return "[]".into();
    }
    let summary = b.len() > THRESHOLD;
    let shown: Vec<Vec<Option<usize>>> = b.shape().iter().map(|n| places(*n, summary)).collect();
    let mut offsets = vec![b.offset() as isize];
    for (axis, stride) in shown.iter().zip(b.strides()) {
        let along = |o: isize| {
            axis.iter()
                .flatten()
                .map(move |i| o + *i as isize * *stride)
        };
        offsets = offsets.into_iter().flat_map(along).collect();
    }
    let elements: Vec<Scalar> = with_dtype!(b.dtype(), T => {
        scalars::<T>(b, &offsets)
    });
    let words = words(&elements, b.dtype(), limit, b.shape().is_empty());
    let mut layout = Layout {
        words: words.into_iter(),
        separator,
    };
    layout.nested(&shown, " ".repeat(prefix + 1), LINE_WIDTH - suffix)
}

fn scalars<T: Stored>(b: &Buffer, offsets: &[isize]) -> Vec<Scalar> {
    let all = b.storage::<T>().unwrap_or_default();
    offsets
        .iter()
        .filter_map(|o| Some((*all.get(usize::try_from(*o).ok()?)?).into()))
        .collect()
}

/// The indices along an axis that are shown; `None` is where the dots go.
fn places(n: usize, summary: bool) -> Vec<Option<usize>> {
    if summary && n > 2 * EDGE {
        let head = (0..EDGE).map(Some);
        head.chain([None]).chain((n - EDGE..n).map(Some)).collect()
    } else {
        (0..n).map(Some).collect()
    }
}

struct Layout<'a> {
    words: std::vec::IntoIter<String>,
    separator: &'a str,
}

impl Layout<'_> {
    /// The elements under some axes, in brackets; lines begin with `indent`.
    fn nested(&mut self, shown: &[Vec<Option<usize>>], indent: String, width: usize) -> String {
        let Some((axis, inner)) = shown.split_first() else {
            return self.words.next().unwrap_or_default();
        };
        let mut done = String::new();
        let bare = self.separator.trim_end();
        if inner.is_empty() {
            let width = width - bare.len().max(1);
            let mut line = indent.clone();
            for (i, place) in axis.iter().enumerate() {
                if i > 0 {
                    line.push_str(self.separator);
                }
                let word = match place {
                    Some(_) => self.words.next().unwrap_or_default(),
                    None => "...".into(),
                };
                let long = line.chars().count() + word.chars().count() > width;
                if long && line.len() > indent.len() {
                    done.push_str(line.trim_end());
                    done.push('\n');
                    line.clone_from(&indent);
                }
                line.push_str(&word);
            }
            done.push_str(&line);
        } else {
            for (i, place) in axis.iter().enumerate() {
                if i > 0 {
                    done.push_str(bare);
                    done.push_str(&"\n".repeat(inner.len()));
                }
                done.push_str(&indent);
                match place {
                    Some(_) => {
                        done.push_str(&self.nested(inner, format!("{indent} "), width - 1));
                    }
                    None => done.push_str("..."),
                }
            }
        }
        format!("[{}]", done.strip_prefix(&indent).unwrap_or(&done))
    }
}

/// The elements as words of one width.
fn words(x: &[Scalar], dtype: DType, limit: usize, alone: bool) -> Vec<String> {
    match dtype.kind() {
        Kind::Bool => {
            let word = |s: &Scalar| match (s, alone) {
                (Scalar::Bool(false), _) => "False",
                (_, true) => "True",
                (_, false) => " True",
            };
            x.iter().map(|s| word(s).to_string()).collect()
        }
        Kind::Int => {
            let number = |s: &Scalar| match s {
                Scalar::Int(i) => i.to_string(),
                _ => String::new(),
            };
            let all: Vec<String> = x.iter().map(number).collect();
            let width = all.iter().map(String::len).max().unwrap_or(0);
            all.iter().map(|s| format!("{s:>width$}")).collect()
        }
        Kind::Float => {
            let all: Vec<f64> = x.iter().map(|s| s.as_f64().unwrap_or(f64::NAN)).collect();
            let format = FloatFormat::new(&all, dtype, limit, false);
            all.iter().map(|v| format.word(*v)).collect()
        }
        Kind::Complex => {
            let all: Vec<Complex<f64>> = x.iter().map(|s| s.as_complex()).collect();
            let part = |of: fn(&Complex<f64>) -> f64, plus| {
                FloatFormat::new(
                    &all.iter().map(of).collect::<Vec<_>>(),
                    dtype.real(),
                    limit,
                    plus,
                )
            };
            let (real, imaginary) = (part(|z| z.re, false), part(|z| z.im, true));
            let word = |z: &Complex<f64>| {
                let im = imaginary.word(z.im);
                let digits = im.trim_end();
                let padding = " ".repeat(im.len() - digits.len());
                format!("{}{digits}j{padding}", real.word(z.re))
            };
            all.iter().map(word).collect()
        }
    }
}

/// The shortest digits that mean the number in its element type, as a number whose `f64` digits they are.
fn shortest(x: f64, dtype: DType) -> f64 {
    let narrow = |v: f64| match dtype {
        DType::F16 => f16::from_f64(v).to_f64(),
        DType::BF16 => bf16::from_f64(v).to_f64(),
        DType::F32 => f64::from(v as f32),
        _ => v,
    };
    if matches!(dtype, DType::F64) || !x.is_finite() {
        return x;
    }
    (0..9)
        .filter_map(|p| format!("{x:.p$e}").parse::<f64>().ok())
        .find(|v| narrow(*v) == x)
        .unwrap_or(x)
}

/// How all floats of an array are written: `arrayprint.FloatingFormat`.
struct FloatFormat {
    dtype: DType,
    /// The most digits behind the point.
    limit: usize,
    /// Is the sign of those that are not negative shown?
    plus: bool,
    /// Digits of the exponent, if there is one.
    exponent: Option<usize>,
    /// Digits behind the point, of all numbers with an exponent.
    precision: usize,
    left: usize,
    right: usize,
}

impl FloatFormat {
    fn new(x: &[f64], dtype: DType, limit: usize, plus: bool) -> FloatFormat {
        let finite: Vec<f64> = x.iter().copied().filter(|v| v.is_finite()).collect();
        let sizes = finite.iter().map(|v| v.abs()).filter(|v| *v != 0.0);
        let largest = sizes.clone().fold(0.0, f64::max);
        let smallest = sizes.fold(f64::INFINITY, f64::min);
        let large = match dtype {
            DType::F16 => 1e3,
            DType::F32 | DType::BF16 => 1e6,
            _ => 1e8,
        };
        let scientific =
            largest > 0.0 && (largest >= large || smallest < 1e-4 || largest / smallest > 1000.0);
        let mut format = FloatFormat {
            dtype,
            limit,
            plus,
            exponent: None,
            precision: 0,
            left: 0,
            right: 0,
        };
        if scientific {
            let parts: Vec<_> = finite.iter().map(|v| format.scientific(*v)).collect();
            let longest = |f: fn(&(String, String, String)) -> &str| {
                parts.iter().map(|p| f(p).len()).max().unwrap_or(0)
            };
            let digits = longest(|p| &p.2) - 1;
            format.left = longest(|p| &p.0);
            format.precision = longest(|p| &p.1);
            format.right = digits + 2 + format.precision;
            format.exponent = Some(digits);
        } else {
            for v in &finite {
                let (whole, fraction) = format.positional(*v);
                format.left = format.left.max(whole.len());
                format.right = format.right.max(fraction.len());
            }
        }
        if finite.len() < x.len() {
            let beside = format.right + 1;
            let negative = usize::from(plus || x.contains(&f64::NEG_INFINITY));
            format.left = format
                .left
                .max(3usize.saturating_sub(beside))
                .max((3 + negative).saturating_sub(beside));
        }
        format
    }

    /// What stands before the point, and behind it without trailing zeros.
    fn positional(&self, x: f64) -> (String, String) {
        let short = format!("{}", shortest(x, self.dtype));
        let fraction = short.split_once('.').map_or(0, |(_, f)| f.len());
        let limit = self.limit;
        let text = if fraction > limit {
            format!("{x:.limit$}")
        } else {
            short
        };
        let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
        (self.signed(whole), fraction.trim_end_matches('0').into())
    }

    /// The digit before the point, those behind it without trailing zeros, and the exponent with its sign.
    fn scientific(&self, x: f64) -> (String, String, String) {
        let short = format!("{:e}", shortest(x, self.dtype));
        let digits = |s: &str| s.split(['.', 'e']).nth(1).map_or(0, str::len);
        let limit = self.limit;
        let text = if short.contains('.') && digits(&short) > limit {
            format!("{x:.limit$e}")
        } else {
            short
        };
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let exponent = match exponent.strip_prefix('-') {
            Some(digits) => format!("-{digits:0>2}"),
            None => format!("+{exponent:0>2}"),
        };
        (
            self.signed(whole),
            fraction.trim_end_matches('0').into(),
            exponent,
        )
    }

    fn signed(&self, whole: &str) -> String {
        match self.plus && !whole.starts_with('-') {
            true => format!("+{whole}"),
            false => whole.to_string(),
        }
    }

    /// One number, padded on both sides.
    fn word(&self, x: f64) -> String {
        let (left, right) = (self.left, self.right);
        if !x.is_finite() {
            let name = match (x.is_nan(), x > 0.0) {
                (true, _) => "nan",
                (_, true) => "inf",
                (_, false) => "-inf",
            };
            return format!("{:>1$}", self.signed(name), left + right + 1);
        }
        let Some(digits) = self.exponent else {
            let (whole, fraction) = self.positional(x);
            return format!("{whole:>left$}.{fraction:<right$}");
        };
        // Where all are as long as the longest, digits beyond the shortest are those of the number itself, as NumPy's are.
        let precision = self.precision;
        let text = format!("{x:.precision$e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (mark, exponent) = match exponent.strip_prefix('-') {
            Some(digits) => ('-', digits),
            None => ('+', exponent),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let whole = self.signed(whole);
        format!("{whole:>left$}.{fraction}e{mark}{exponent:0>digits$}")
    }
}
