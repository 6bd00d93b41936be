//! What a module says, as it is written: functions of blocks of operations.

use crate::array::{Aval, Buffer};

/// A type.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Type<'t> {
    /// An array of an element type that there is.
    Tensor(Aval),
    /// An array of integers of so few bits, in the type that holds them.
    Narrow(Aval, u32),
    /// Several values in one.
    Tuple(Vec<Type<'t>>),
    /// An order of effects.
    Token,
    /// Anything else, as written.
    Other(&'t str),
}

impl Type<'_> {
    /// The type of the array that holds it.
    pub(crate) fn aval(&self) -> Option<&Aval> {
        match self {
            Type::Tensor(a) | Type::Narrow(a, _) => Some(a),
            Type::Tuple(_) | Type::Token | Type::Other(_) => None,
        }
    }
}

/// A constant array. A splat holds its one element.
#[derive(Clone, Debug)]
pub(crate) struct Dense {
    pub(crate) aval: Aval,
    pub(crate) elements: Buffer,
}

impl Dense {
    /// Is it one element, repeated?
    pub(crate) fn is_splat(&self) -> bool {
        self.elements.shape().is_empty() && self.aval.ndim() > 0
    }
}

/// The value of an attribute.
#[derive(Clone, Debug)]
pub(crate) enum Attr<'t> {
    Int(i128),
    Float(f64),
    Bool(bool),
    Text(&'t str),
    Symbol(&'t str),
    /// A word of an enumeration: `LT`, `DEFAULT`.
    Word(&'t str),
    List(Vec<Attr<'t>>),
    Dict(Vec<(&'t str, Attr<'t>)>),
    Dense(Box<Dense>),
    Type(Type<'t>),
    Unit,
    /// Something that nobody here asks for.
    Other,
}

/// A use of a value: its name, and which of the results of that name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Use<'t> {
    pub(crate) name: &'t str,
    pub(crate) number: usize,
    pub(crate) at: usize,
}

/// A named argument of a function or of a block.
#[derive(Clone, Debug)]
pub(crate) struct Parameter<'t> {
    pub(crate) name: &'t str,
    pub(crate) kind: Type<'t>,
    /// What the exporting program called it.
    pub(crate) label: Option<Label<'t>>,
}

/// A name from a location or from an attribute.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Label<'t> {
    Name(&'t str),
    /// A location that is defined elsewhere in the text.
    Alias(&'t str),
}

/// An operation.
#[derive(Clone, Debug)]
pub(crate) struct Operation<'t> {
    pub(crate) name: &'t str,
    pub(crate) at: usize,
    pub(crate) operands: Vec<Use<'t>>,
    /// Names of results, and how many each stands for.
    pub(crate) results: Vec<(&'t str, usize)>,
    pub(crate) attrs: Vec<(&'t str, Attr<'t>)>,
    /// Words that stand alone: `LT`, `across`.
    pub(crate) words: Vec<&'t str>,
    pub(crate) regions: Vec<Block<'t>>,
    pub(crate) out_types: Vec<Type<'t>>,
}

/// Operations in order, with what they take.
#[derive(Clone, Default, Debug)]
pub(crate) struct Block<'t> {
    pub(crate) parameters: Vec<Parameter<'t>>,
    pub(crate) operations: Vec<Operation<'t>>,
}

/// A function.
#[derive(Clone, Debug)]
pub(crate) struct Function<'t> {
    pub(crate) name: &'t str,
    pub(crate) at: usize,
    pub(crate) public: bool,
    pub(crate) results: Vec<Type<'t>>,
    /// What the exporting program called its results.
    pub(crate) labels: Vec<Option<&'t str>>,
    /// `None` where there is only a declaration.
    pub(crate) body: Option<Block<'t>>,
}

impl<'t> Operation<'t> {
    /// An attribute.
    pub(crate) fn attr(&self, name: &str) -> Option<&Attr<'t>> {
        self.attrs.iter().find(|(n, _)| *n == name).map(|(_, a)| a)
    }

    /// The number of its results.
    pub(crate) fn result_count(&self) -> usize {
        self.results
            .iter()
            .fold(0, |n: usize, (_, k)| n.saturating_add(*k))
    }
}

impl<'t> Attr<'t> {
    /// A field of a structured attribute.
    pub(crate) fn field(&self, name: &str) -> Option<&Attr<'t>> {
        match self {
            Attr::Dict(fields) => fields.iter().find(|(n, _)| *n == name).map(|(_, a)| a),
            _ => None,
        }
    }

    /// A whole number.
    pub(crate) fn int(&self) -> Option<i64> {
        match self {
            Attr::Int(i) => i64::try_from(*i).ok(),
            Attr::Dense(d) => self::int_of(&d.elements),
            _ => None,
        }
    }

    /// A list of whole numbers, in any of the ways in which lists are written; row-major, if it is one of lists.
    pub(crate) fn ints(&self) -> Option<Vec<i64>> {
        match self {
            Attr::List(items) => {
                let mut all = vec![];
                for item in items {
                    match item {
                        Attr::List(_) => all.extend(item.ints()?),
                        _ => all.push(item.int()?),
                    }
                }
                Some(all)
            }
            Attr::Dense(d) => {
                let n = d.aval.size();
                let convert = |x: crate::array::Scalar| match x {
                    crate::array::Scalar::Int(i) => i64::try_from(i).ok(),
                    crate::array::Scalar::Bool(b) => Some(i64::from(b)),
                    _ => None,
                };
                if n == 0 {
                    return Some(vec![]);
                }
                if d.elements.len() == 1 {
                    // What lists sizes or axes is not long.
                    let one = convert(d.elements.item()?)?;
                    return (n <= 1 << 20).then(|| vec![one; n]);
                }
                crate::array::dtype::with_dtype!(d.aval.dtype, T => d
                    .elements
                    .as_slice::<T>()?
                    .iter()
                    .map(|x| convert((*x).into()))
                    .collect())
            }
            Attr::Int(_) => Some(vec![self.int()?]),
            _ => None,
        }
    }

    /// A truth value.
    pub(crate) fn bool(&self) -> Option<bool> {
        match self {
            Attr::Bool(b) => Some(*b),
            Attr::Int(i) => Some(*i != 0),
            _ => None,
        }
    }

    /// A number.
    pub(crate) fn float(&self) -> Option<f64> {
        match self {
            Attr::Float(x) => Some(*x),
            Attr::Int(i) => Some(*i as f64),
            _ => None,
        }
    }

    /// A word, a string or a symbol.
    pub(crate) fn word(&self) -> Option<&'t str> {
        match self {
            Attr::Word(s) | Attr::Text(s) | Attr::Symbol(s) => Some(s),
            _ => None,
        }
    }
}

fn int_of(b: &Buffer) -> Option<i64> {
    match b.item()? {
        crate::array::Scalar::Int(i) => i64::try_from(i).ok(),
        _ => None,
    }
}
