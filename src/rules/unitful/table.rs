//! The units that have a symbol. Definitions: the SI brochure (BIPM, 9th edition, 2019), tables 2 to 8, and for the customary ones the
//! international yard and pound agreement of 1959, with the conventional values of NIST SP 811.

use super::{Factor, Factors, Ratio, Unit, parse};
use crate::error::{Error, Result};

const BASE: &[&str] = &["m", "s", "A", "K", "mol", "cd"];

/// What may stand before a symbol.
const PREFIXES: &[(&str, i32)] = &[
    ("da", 1),
    ("Q", 30),
    ("R", 27),
    ("Y", 24),
    ("Z", 21),
    ("E", 18),
    ("P", 15),
    ("T", 12),
    ("G", 9),
    ("M", 6),
    ("k", 3),
    ("h", 2),
    ("d", -1),
    ("c", -2),
    ("m", -3),
    ("µ", -6),
    ("μ", -6),
    ("u", -6),
    ("n", -9),
    ("p", -12),
    ("f", -15),
    ("a", -18),
    ("z", -21),
    ("y", -24),
    ("r", -27),
    ("q", -30),
];

/// Symbol, definition, and whether prefixes may stand before it.
const DERIVED: &[(&str, &str, bool)] = &[
    ("g", "0.001 kg", true),
    ("rad", "1", true),
    ("sr", "1", true),
    ("Hz", "s^-1", true),
    ("N", "kg m s^-2", true),
    ("Pa", "kg m^-1 s^-2", true),
    ("J", "kg m^2 s^-2", true),
    ("W", "kg m^2 s^-3", true),
    ("C", "A s", true),
    ("V", "kg m^2 s^-3 A^-1", true),
    ("F", "kg^-1 m^-2 s^4 A^2", true),
    ("Ω", "kg m^2 s^-3 A^-2", true),
    ("Ohm", "kg m^2 s^-3 A^-2", true),
    ("S", "kg^-1 m^-2 s^3 A^2", true),
    ("Wb", "kg m^2 s^-2 A^-1", true),
    ("T", "kg s^-2 A^-1", true),
    ("H", "kg m^2 s^-2 A^-2", true),
    ("lm", "cd", true),
    ("lx", "cd m^-2", true),
    ("Bq", "s^-1", true),
    ("Gy", "m^2 s^-2", true),
    ("Sv", "m^2 s^-2", true),
    ("kat", "mol s^-1", true),
    ("L", "0.001 m^3", true),
    ("l", "0.001 m^3", true),
    ("t", "1000 kg", true),
    ("eV", "1.602176634e-19 kg m^2 s^-2", true),
    ("Da", "1.66053906892e-27 kg", true),
    ("bar", "1e5 kg m^-1 s^-2", true),
    ("min", "60 s", false),
    ("h", "3600 s", false),
    ("d", "86400 s", false),
    ("yr", "31557600 s", false),
    ("au", "149597870700 m", false),
    ("ly", "9460730472580800 m", false),
    ("ha", "1e4 m^2", false),
    ("Å", "1e-10 m", false),
    ("angstrom", "1e-10 m", false),
    ("atm", "101325 kg m^-1 s^-2", false),
    ("mmHg", "133.322387415 kg m^-1 s^-2", false),
    ("cal", "4.184 kg m^2 s^-2", true),
    ("Wh", "3600 kg m^2 s^-2", true),
    ("in", "0.0254 m", false),
    ("ft", "0.3048 m", false),
    ("yd", "0.9144 m", false),
    ("mi", "1609.344 m", false),
    ("nmi", "1852 m", false),
    ("kn", "1852 m (3600 s)^-1", false),
    ("lb", "0.45359237 kg", false),
    ("oz", "0.028349523125 kg", false),
    ("lbf", "0.45359237 9.80665 kg m s^-2", false),
    ("psi", "0.45359237 9.80665 kg m^-1 s^-2 (0.0254)^-2", false),
    ("hp", "550 0.3048 0.45359237 9.80665 kg m^2 s^-3", false),
    ("gal", "0.003785411784 m^3", false),
    ("%", "0.01", false),
    ("ppm", "1e-6", false),
    ("ppb", "1e-9", false),
];

/// Scales that start elsewhere than at zero.
const OFFSET: &[&str] = &["°C", "degC", "celsius", "°F", "degF", "fahrenheit"];
/// Ratios on a logarithmic scale.
const LOGARITHMIC: &[&str] = &["dB", "B", "Np", "pH", "dBm"];

fn scaled(unit: &Unit, name: &str, power_of_ten: i32) -> Option<Unit> {
    let mut ten = Factors::new();
    parse::factorise(10, Ratio::integer(power_of_ten), &mut ten)?;
    let scaled = unit.times(&Unit::symbol("", ten)).ok()?;
    Some(scaled.renamed(name))
}

fn exact(name: &str) -> Option<(Unit, bool)> {
    if name == "kg" || BASE.contains(&name) {
        return Some((Unit::base(name), name != "kg"));
    }
    if matches!(name, "°" | "deg") {
        let mut factors = Factors::new();
        parse::factorise(180, Ratio::integer(-1), &mut factors)?;
        factors.insert(Factor::Pi, Ratio::ONE);
        return Some((Unit::symbol(name, factors), false));
    }
    let (_, definition, prefixed) = DERIVED.iter().find(|(symbol, ..)| *symbol == name)?;
    // Definitions are in base units, so that no definition needs another.
    let unit = parse::parse(definition, &|base| {
        exact(base)
            .map(|(unit, _)| unit)
            .ok_or_else(|| Error::internal(format!("`{base}` in the definition of a unit")))
    });
    Some((unit.ok()?.renamed(name), *prefixed))
}

pub(super) fn lookup(name: &str) -> Result<Unit> {
    if let Some((unit, _)) = exact(name) {
        return Ok(unit);
    }
    for (prefix, power) in PREFIXES {
        let rest = name.strip_prefix(prefix).and_then(exact);
        if let Some((unit, true)) = rest
            && let Some(unit) = scaled(&unit, name, *power)
        {
            return Ok(unit);
        }
    }
    if OFFSET.contains(&name) {
        return Err(
            Error::argument(format!("`{name}` has an offset, and does not multiply"))
                .note("convert to K first: differences of degrees Celsius are in K, too"),
        );
    }
    if LOGARITHMIC.contains(&name) {
        return Err(Error::argument(format!(
            "`{name}` is logarithmic, and does not multiply"
        )));
    }
    let e = Error::argument(format!("`{name}` is no unit"));
    let same = |s: &&str| s.to_lowercase() == name.to_lowercase();
    let symbols = BASE.iter().chain(DERIVED.iter().map(|(s, ..)| s));
    Err(match symbols.copied().find(|s| same(s)) {
        Some(near) => e.note(format!("did you mean `{near}`?")),
        None => e.note("`Unit::base` makes a unit of one's own"),
    })
}
